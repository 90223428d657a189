// A machine's terminal: xterm.js before it, a toolbar above it, and a line to the machine behind it.

import { FitAddon } from "../../vendor/xterm/addon-fit.mjs";
import { Terminal } from "../../vendor/xterm/xterm.mjs";
import { Line } from "./line.js";

const facts = JSON.parse(document.getElementById("facts").textContent);
const { words } = facts;
const place = (id) => document.getElementById(id);
const MODIFIERS = new Set(["Control", "Alt", "Shift"]);
const SIZES = [9, 28]; // px, the smallest and the largest letters

// Colours follow the page; letters that would be hard to read are made readable by xterm itself
const ANSI = {
    dark: ["#17223d", "#ff9b93", "#6cd9a0", "#ffc566", "#9cbcff", "#d3a9ff", "#7fd7e6", "#d3dae8"],
    light: ["#121b33", "#b3261e", "#10703f", "#8a5300", "#1b4fa8", "#7a3ea8", "#0b6b7a", "#505c7a"],
};
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => {
    const set = document.documentElement.dataset.theme;
    const dark = set ? set === "dark" : prefersDark.matches;
    const plain = dark
        ? { background: "#111a30", foreground: "#e8edf8", cursor: "#ffc566", selectionBackground: "#3a4f86" }
        : { background: "#ffffff", foreground: "#121b33", cursor: "#1b4fa8", selectionBackground: "#bcd2ff" };
    const ansi = ANSI[dark ? "dark" : "light"].flatMap((colour, at) => {
        const name = NAMES[at];
        return [[name, colour], [`bright${name[0].toUpperCase()}${name.slice(1)}`, colour]];
    });
    return { ...plain, ...Object.fromEntries(ansi), brightBlack: "#7c88a6" };
};

const remembered = Number(localStorage.getItem("visa-terminal-size"));
let letters = remembered >= SIZES[0] && remembered <= SIZES[1] ? remembered : 14;
const term = new Terminal({
    fontFamily: 'ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", monospace',
    fontSize: letters,
    minimumContrastRatio: 4.5,
    scrollback: 5000,
    screenReaderMode: localStorage.getItem("visa-terminal-reader") === "yes",
    theme: theme(),
});
const fit = new FitAddon();
term.loadAddon(fit);
term.open(place("screen"));
term.textarea.setAttribute("aria-describedby", "way-out");
prefersDark.addEventListener("change", () => (term.options.theme = theme()));

const line = new Line(facts, () => ({ cols: term.cols, rows: term.rows }));
let types = true;
let shared = null; // the size of the terminal that somebody else uses, while we watch

// Who types has a terminal as large as the window; who watches has theirs, with letters that let it fit
const adapt = () => {
    if (types || !shared) {
        term.options.fontSize = letters;
        fit.fit();
        return;
    }
    term.options.fontSize = letters;
    const room = fit.proposeDimensions();
    if (!room) return;
    const scale = Math.min(1, room.cols / shared.cols, room.rows / shared.rows);
    term.options.fontSize = Math.max(5, Math.floor(letters * scale * 2) / 2);
    term.resize(shared.cols, shared.rows);
};
term.onResize(() => line.resize());
new ResizeObserver(adapt).observe(place("main"));
visualViewport?.addEventListener("resize", () => {
    document.body.style.setProperty("--height", `${visualViewport.height}px`);
});
term.onTitleChange((title) => {
    const size = /^(\d{1,3})x(\d{1,3})(?: |$)/.exec(title);
    place("watching").textContent = size ? words.watching : words.nobody;
    if (!size) return;
    shared = { cols: Number(size[1]), rows: Number(size[2]) };
    if (!types) adapt();
});

// Trouble: a sentence over what was seen last, and what happens next
const offer = (label, does) => {
    const act = document.createElement(typeof does === "string" ? "a" : "button");
    Object.assign(act, { className: "button primary", textContent: label });
    if (typeof does === "string") act.href = does;
    else act.addEventListener("click", does);
    return act;
};
const offers = ({ what, wait }) => {
    if (what === "signedOut") return [offer(words.signIn, facts.signIn)];
    if (what === "ended") return [offer(words.newShell, () => line.now())];
    if (what === "askFirst" || what === "closed") return [offer(words.toDesktop, facts.desktop)];
    if (what === "notRunning" || what === "waiting") return [offer(words.machinePage, facts.machine)];
    return wait ? [offer(words.now, () => line.now())] : [];
};
let said = "";
const trouble = (detail) => {
    place("veil").hidden = false;
    place("mark").textContent = "";
    const text = words[detail.what].replace("%s", detail.word ?? "");
    if (text !== said) {
        place("veil-text").textContent = said = text;
        place("veil-acts").replaceChildren(...offers(detail));
        if (detail.what === "ended") place("veil-acts").firstChild.focus();
    }
    const counts = detail.wait >= 2 && !["waiting", "notRunning", "ownerAway", "askFirst"].includes(detail.what);
    place("veil-next").textContent = counts ? words.attempt.replace("%s", detail.wait) : "";
};
line.addEventListener("trouble", ({ detail }) => trouble(detail));
line.addEventListener("up", () => {
    term.reset();
    place("veil").hidden = true;
    place("mark").textContent = words.connected;
    said = "";
    if (!document.querySelector("dialog[open]")) term.focus();
});
line.addEventListener("bytes", ({ detail }) => term.write(detail, () => line.drawn(detail.length)));
line.addEventListener("types", ({ detail }) => {
    types = detail;
    term.options.disableStdin = !types;
    term.options.cursorBlink = types;
    place("watching").textContent = words.watching;
    place("watching").hidden = types;
    place("paste").disabled = !types;
    document.body.classList.toggle("watches", !types);
    adapt();
});

// Keys: what phones lack, and a Ctrl that holds for the next letter
let control = false;
const hold = (on) => {
    control = on;
    place("ctrl").setAttribute("aria-pressed", String(on));
};
term.onData((text) => {
    const held = control && text.length === 1;
    hold(false);
    line.type(held ? String.fromCharCode(text.toUpperCase().charCodeAt(0) & 31) : text);
});
place("ctrl").addEventListener("click", () => {
    hold(!control);
    term.focus();
});
for (const key of document.querySelectorAll("[data-sends]")) {
    key.addEventListener("click", () => {
        term.input(key.dataset.sends);
        term.focus();
    });
}

// Toolbar
const toast = (text) => {
    place("toast").textContent = text;
    place("toast").hidden = false;
    clearTimeout(toast.timer);
    toast.timer = setTimeout(() => (place("toast").hidden = true), 3000);
};
const copy = async () => {
    if (!term.hasSelection()) return toast(words.nothing);
    await navigator.clipboard.writeText(term.getSelection());
    return toast(words.copied);
};
const paste = async () => {
    try {
        term.paste(await navigator.clipboard.readText());
    } catch {
        toast(words.pasteByKey);
    }
    term.focus();
};
const grow = (by) => {
    letters = Math.min(SIZES[1], Math.max(SIZES[0], letters + by));
    localStorage.setItem("visa-terminal-size", letters);
    adapt();
};
place("copy").addEventListener("click", copy);
place("paste").addEventListener("click", paste);
place("smaller").addEventListener("click", () => grow(-1));
place("larger").addEventListener("click", () => grow(1));
place("help-open").addEventListener("click", () => place("help").showModal());
place("help-close").addEventListener("click", () => place("help").close());
place("help").addEventListener("close", () => term.focus());
place("reader").checked = term.options.screenReaderMode;
place("reader").addEventListener("change", ({ target }) => {
    term.options.screenReaderMode = target.checked;
    localStorage.setItem("visa-terminal-reader", target.checked ? "yes" : "no");
});

// The keyboard's way out of the terminal, which keeps Tab for the machine; and back
const tools = () => [...place("bar").querySelectorAll("a, button")].filter((one) => one.checkVisibility() && !one.disabled);
term.attachCustomKeyEventHandler((event) => {
    if (event.type !== "keydown") return true;
    if (MODIFIERS.has(event.key) && event.ctrlKey && event.altKey && event.shiftKey) {
        tools()[0].focus();
        return false;
    }
    if (event.ctrlKey && event.shiftKey && event.code === "KeyC") {
        event.preventDefault();
        copy();
        return false;
    }
    // The browser pastes by itself: xterm hears of it.
    return !(event.ctrlKey && event.shiftKey && event.code === "KeyV");
});
place("bar").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const all = tools();
    if (step) all.at((all.indexOf(document.activeElement) + step) % all.length).focus();
    else if (event.key === "Escape") term.focus();
    else if (event.key === "?") place("help").showModal();
});

adapt();
if (facts.closed) trouble({ what: "closed" });
else line.now();
