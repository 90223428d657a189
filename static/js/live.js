// Brings the parts of a page that show a machine up to date when that machine changed.

import { listen } from "./events.js";

const GRACE = 3000; // a socket that is back so soon is not worth a word
const HELD = 10000; // a page that is left no later stays, as after a download
const connection = document.getElementById("connection");
const announcer = document.getElementById("announcer");
let grace = 0;

// A part that changes while it is fetched or used, or does not listen yet, is fetched once more afterwards.
const LATER = 1000;
const late = new Set();
let listening = false;
const busy = (part) => part.querySelector("details.menu[open]") || document.getElementById("confirm").open;
const fetched = (part) => part.closest(".htmx-request, .htmx-settling") || part.querySelector(".htmx-request");
const refresh = (part) => {
    if (!listening || fetched(part) || busy(part)) late.add(part.id);
    else htmx.trigger(part, "changed");
};
const catchUp = () => {
    const parts = [...late].map((id) => document.getElementById(id));
    late.clear();
    parts.filter(Boolean).forEach(refresh);
};
document.addEventListener("DOMContentLoaded", () => {
    listening = true; // htmx heard it first
    catchUp();
});
document.addEventListener("htmx:afterRequest", catchUp);
document.addEventListener("htmx:afterSettle", catchUp);
setInterval(catchUp, LATER);

const listOf = (part) => part.parentElement.closest("[data-live-list]"); // with which it comes anew
const everything = () => {
    const parts = document.querySelectorAll("[data-live-list], [data-machine], [data-hears]");
    [...parts].filter((part) => !listOf(part)).forEach(refresh);
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

// A menu that was opened meanwhile stays open.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const { elt, triggeringEvent } = detail.requestConfig;
    if (triggeringEvent?.type !== "changed" || !busy(detail.target)) return;
    detail.shouldSwap = false;
    refresh(elt);
});

// What somebody folded out or in stays so, also on a page of a list that is turned back to; and who writes goes on. At
// once: in what is folded in nobody can write.
const folds = new Map();
let writing = null;
document.addEventListener("click", ({ target }) => {
    const fold = target.closest("summary")?.parentElement;
    if (fold?.id) folds.set(fold.id, !fold.open);
});
document.addEventListener("htmx:afterSwap", ({ target }) => {
    for (const one of target.querySelectorAll("details[id]")) one.open = folds.get(one.id) ?? one.open;
    if (target.contains(writing) && writing !== document.activeElement) writing.focus({ preventScroll: true });
});

// Screen readers hear the states that changed.
const saying = (part) => [part, ...part.querySelectorAll("[data-said]")].filter((one) => one.dataset.said);
let said = new Map();
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    writing = document.activeElement;
    said = new Map(saying(detail.target).map((one) => [one.id, one.dataset.said]));
});
document.addEventListener("htmx:afterSwap", ({ target }) => {
    const changed = saying(target).filter((one) => said.has(one.id) && said.get(one.id) !== one.dataset.said);
    if (changed.length) announcer.textContent = changed.map((one) => one.dataset.said).join(". ");
});

// Who was at a link or a button is at the one of the same words, in the same place; htmx knows only those with ids.
const WORDED = "a, button, summary";
let held = null;
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const at = document.activeElement;
    const counts = detail.target.contains(at) && !at.id && at.matches(WORDED);
    held = counts ? { within: at.parentElement.closest("[id]")?.id, words: at.textContent } : null;
});
document.addEventListener("htmx:afterSwap", () => {
    const within = held && document.getElementById(held.within);
    const same = [...(within?.querySelectorAll(WORDED) ?? [])].find((one) => one.textContent === held.words);
    same?.focus({ preventScroll: true });
    held = null;
});

// A list without its last machine says so, or invites again.
document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const list = document.querySelector("[data-live-list]");
    if (detail.requestConfig.elt !== list && list?.querySelector(".cards:not(:has([data-machine]))")) refresh(list);
});

// A machine that one may no longer see leaves the page; who is on the way to another page is not held up.
let leaving = 0;
const leave = (event) => event.defaultPrevented || (leaving = performance.now() + HELD);
addEventListener("beforeunload", leave);
addEventListener("submit", leave); // not every browser says the former
document.addEventListener("htmx:responseError", ({ detail }) => {
    const part = detail.xhr.status === 404 && detail.target.closest("[data-machine], [data-room]");
    if (!part) return;
    if (listOf(part)) refresh(listOf(part));
    else if (performance.now() > leaving) location.reload();
});

if (document.querySelector("[data-machine], [data-live-list], [data-hears]")) listen(heard, there, ended);
