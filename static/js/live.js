// Brings the parts of a page that show a machine up to date when that machine changed.

import { listen } from "./events.js";

const GRACE = 3000; // a socket that is back so soon is not worth a word
const connection = document.getElementById("connection");
const announcer = document.getElementById("announcer");
let away = false;
let grace = 0;

const busy = (part) => part.querySelector("details.menu[open]") || document.getElementById("confirm").open;
const refresh = (part) => {
    if (busy(part)) {
        setTimeout(() => part.isConnected && refresh(part), 1000);
    } else {
        htmx.trigger(part, "changed");
    }
};
const everything = () => document.querySelectorAll("[data-machine], [data-hears]").forEach(refresh);

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
    if (list && !parts.length && !["binned", "deleted"].includes(message.state)) location.reload();
}

function there(yes) {
    clearTimeout(grace);
    if (yes) {
        if (away) everything(); // what was missed meanwhile
        connection.hidden = true;
    } else {
        grace = setTimeout(() => say(document.body.dataset.reconnecting), GRACE);
    }
    away = !yes;
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

// A machine that one may no longer see leaves the page.
document.addEventListener("htmx:responseError", ({ detail }) => {
    if (detail.xhr.status === 404 && detail.target.closest("[data-machine]")) location.reload();
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
    if (list && before && !list.querySelector("[data-machine]")) location.reload();
});

if (document.querySelector("[data-machine], [data-live-list], [data-hears]")) listen(heard, there, ended);
