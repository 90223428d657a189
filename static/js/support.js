// The support page: its buttons are answered in JSON, and its rows follow what happens.

import { clear, submit } from "./answers.js";
import { listen, say } from "./events.js";

const dialog = document.getElementById("ask");
const filters = document.getElementById("filters");
const SOON = 1500; // many machines may change at once; the list is fetched once for all of them
let due = 0;

// Machines that are not on this list may belong on it now
const listAgain = () => {
    clearTimeout(due);
    due = setTimeout(() => htmx.trigger(filters, "changed"), SOON);
};
const heard = ({ type, id }) => {
    if (type === "support" && !document.getElementById(`case-${id}`)) listAgain();
};
listen(heard, (there) => there && say({ type: "support", on: true }), () => {});

// A page that was turned to stays
filters.addEventListener("htmx:configRequest", ({ detail }) => {
    const { page } = document.getElementById("cases").dataset;
    if (detail.triggeringEvent?.type === "changed" && page > 1) detail.parameters.page = page;
});

document.addEventListener("submit", async (event) => {
    const row = event.target.closest("[data-case]");
    const asks = event.target.closest("#ask");
    if (!row && !asks) return;
    const done = await submit(event, (asks ?? row).querySelector("[data-error]"));
    if (!done) return;
    if (asks) dialog.close();
    htmx.trigger(row ?? document.getElementById(dialog.dataset.row), "changed");
});

document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-opens]");
    if (button) open(button);
    if (target.closest("[data-close]")) dialog.close();
});

function open({ dataset }) {
    const what = dataset.opens;
    const words = dialog.dataset;
    const form = dialog.querySelector("form");
    form.action = dataset.action;
    dialog.dataset.row = `case-${dataset.action.split("/")[2]}`;
    document.getElementById("ask-title").textContent = words[what].replace("%s", dataset.name);
    document.getElementById("ask-hint").textContent = words[`${what}Hint`].replace("%s", dataset.owner);
    document.getElementById("ask-yes").textContent = words[`${what}Yes`];
    document.getElementById("ask-control").hidden = what === "enter";
    clear(form);
    dialog.showModal();
}
