// The people of a machine: its forms answer in JSON, with a sentence where something cannot be.

import { send, show } from "./answers.js";
import { listen, say } from "./events.js";

const panel = document.getElementById("people");
const errors = (form) => {
    const parts = [form, form.closest(".drawer > div"), panel];
    return parts.map((part) => part?.querySelector("[data-error]")).find(Boolean);
};

// An answer other than 200 that is meant to be read
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.xhr.status === 429) detail.shouldSwap = true;
});

function done(form, told) {
    if ("leadsHome" in form.dataset) return location.assign("/");
    if (form.dataset.shows) {
        const place = document.querySelector(form.dataset.shows);
        place.querySelector("code").textContent = told.link;
        place.hidden = false;
        form.reset();
    }
    htmx.trigger(panel, "changed");
    const search = document.getElementById("people-q");
    if (search) htmx.trigger(search, "again");
    if ("withRole" in form.dataset) search.focus();
}

async function submit(form, body) {
    for (const menu of panel.querySelectorAll("details.menu[open]")) menu.open = false;
    const told = await send(form, body);
    if (!told) return false;
    show(errors(form), told, form);
    if (told.ok) done(form, told);
    return Boolean(told.ok);
}

panel.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    if (form.method !== "post") return; // the choice of a role, which goes with whom it is for
    const body = new URLSearchParams(new FormData(form));
    form.elements.confirmed?.remove();
    if ("withRole" in form.dataset) body.set("role", panel.querySelector("[name=as]:checked").value);
    submit(form, body);
});

// A switch is sent as it is turned, and turns back where that cannot be
panel.addEventListener("change", async ({ target }) => {
    const form = target.closest("[data-switches]");
    if (!form) return;
    const body = new URLSearchParams({ csrfmiddlewaretoken: form.elements.csrfmiddlewaretoken.value });
    body.set(target.name, target.checked ? "true" : "false");
    if (!(await submit(form, body))) target.checked = !target.checked;
});

// Who comes and goes at the screen is told to those who joined; the panel says itself what it hears
const nothing = () => {};
if (panel.dataset.room) listen(nothing, (there) => there && say({ type: "join", id: panel.dataset.room }), nothing);
