// Brings the parts of a page that show a machine up to date when that machine changed.

import { listen } from "./events.js";

const GRACE = 3000; // a socket that is back so soon is not worth a word
const connection = document.getElementById("connection");
const announcer = document.getElementById("announcer");
let grace = 0;

const busy = (part) => part.querySelector("details.menu[open]") || document.getElementById("confirm").open;
// A part that changes while it is fetched, or has just come and does not listen yet, is fetched once more afterwards.
const late = new Set();
const refresh = (part) => {
    if (busy(part)) setTimeout(() => part.isConnected && refresh(part), 1000);
    else if (part.closest(".htmx-request, .htmx-settling")) late.add(part.id);
    else htmx.trigger(part, "changed");
};
const catchUp = () => {
    const parts = [...late].map((id) => document.getElementById(id));
    late.clear();
    parts.filter(Boolean).forEach(refresh);
};
document.addEventListener("htmx:afterRequest", catchUp);
document.addEventListener("htmx:afterSettle", catchUp);
// A menu that was opened meanwhile stays open.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.requestConfig.triggeringEvent?.type !== "changed" || !busy(detail.target)) return;
    detail.shouldSwap = false;
    refresh(detail.target);
});
const inList = (part) => part.parentElement.closest("[data-live-list]"); // and comes anew with it
const everything = () => {
    const parts = document.querySelectorAll("[data-live-list], [data-machine], [data-hears]");
    [...parts].filter((part) => !inList(part)).forEach(refresh);
};

function heard(message) {
    document.dispatchEvent(new CustomEvent("visa:heard", { detail: message }));
    // data-hears="notice room:<id>": fetched anew when that is said, of anything or of the one with this id
    const type = CSS.escape(message.type);
    const ears = `[data-hears~="${type}"], [data-hears~="${type}:${CSS.escape(message.id ?? "")}"]`;
    document.querySelectorAll(ears).forEach(refresh);
    if (message.type !== "instance") return;
    const parts = document.querySelectorAll(`[data-machine="${CSS.escape(message.id)}"]`);
    parts.forEach(refresh);
    const list = document.querySelector("[data-live-list]");
    if (list && !parts.length && !["binned", "deleted"].includes(message.state)) refresh(list);
}

function there(yes, missed) {
    clearTimeout(grace);
    if (yes) {
        if (missed) everything();
        connection.hidden = true;
    } else {
        grace = setTimeout(() => say(document.body.dataset.reconnecting), GRACE);
    }
}

function ended() {
    say(document.body.dataset.signedOut);
}

function say(text) {
    connection.textContent = text;
    connection.hidden = false;
}
document.addEventListener("visa:say", (event) => {
    say(event.detail);
    setTimeout(() => (connection.hidden = true), 6000);
});

// What was folded out or in stays so, also on a page of a list that is turned back to. At once: who writes in it would lose
// the place.
const folds = new Map();
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    for (const { id, open } of detail.target.querySelectorAll("details[id]")) folds.set(id, open);
});
document.addEventListener("htmx:afterSwap", ({ target }) => {
    for (const one of target.querySelectorAll("details[id]")) one.open = folds.get(one.id) ?? one.open;
});

// A machine that one may no longer see leaves the page; who is on the way to another is not held up.
let leaving = false;
addEventListener("submit", (event) => (leaving = !event.defaultPrevented));
document.addEventListener("htmx:responseError", ({ detail }) => {
    const part = detail.xhr.status === 404 && detail.target.closest("[data-machine]");
    if (!part) return;
    if (inList(part)) refresh(inList(part));
    else if (!leaving) location.reload();
});

// Screen readers hear a state that changed; a list that became empty invites again.
document.addEventListener("htmx:beforeSwap", (event) => {
    event.detail.target.dataset.before = event.detail.target.dataset.said ?? "";
});
document.addEventListener("htmx:afterSwap", (event) => {
    const before = event.detail.target.dataset?.before;
    const now = document.getElementById(event.detail.target.id);
    if (now?.dataset.said && now.dataset.said !== before) announcer.textContent = now.dataset.said;
    const list = document.querySelector("[data-live-list]");
    if (list && before && !list.querySelector("[data-machine]")) refresh(list);
});

if (document.querySelector("[data-machine], [data-live-list], [data-hears]")) listen(heard, there, ended);
