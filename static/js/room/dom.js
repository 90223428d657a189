// Elements made by scripts. Text is always text: nothing that people wrote becomes markup.

const SPRITE = new URL("../../vendor/icons.svg", import.meta.url).pathname;

export const place = (id) => document.getElementById(id);

/** make("button", { class: "button", on: { click }, "aria-label": "…" }, "text", child, …); undefined and null are left out. */
export function make(tag, attributes = {}, ...children) {
    const { on = {}, ...rest } = attributes;
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(rest)) set(made, name, value);
    for (const [name, act] of Object.entries(on)) made.addEventListener(name, act);
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
}

function set(made, name, value) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
}

export function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `${SPRITE}#${name}`);
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    svg.append(use);
    return svg;
}

export const button = (kind, name, label, click, attributes = {}) =>
    make("button", { type: "button", class: `button ${kind}`, on: { click }, ...attributes }, name && icon(name), make("span", {}, label));

/** "Hello %s" with its gap filled. */
export const fill = (sentence, ...values) => values.reduce((said, value) => said.replace("%s", () => value), sentence);

const language = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;
export const clock = (when) => new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" }).format(new Date(when));
export const dayOf = (when) => new Intl.DateTimeFormat(language, { weekday: "long", day: "numeric", month: "long" }).format(new Date(when));
export const moment = (when) => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(when));

/** 83 seconds are 1:23. */
export const countdown = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

const COLOURS = 8;
const hues = new Map();

/** A person's own of the eight colours of room.css: by their id, and where somebody has that one already, the next free. */
export function colourOf(id) {
    if (!hues.has(id)) {
        let hue = [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 9973, 7) % COLOURS;
        const taken = new Set(hues.values());
        while (taken.has(hue) && taken.size < COLOURS) hue = (hue + 1) % COLOURS;
        hues.set(id, hue);
    }
    return hues.get(id);
}

export const initials = (name) =>
    name.split(/\s+/).filter(Boolean).map((part) => [...part][0]).filter((_, at, all) => at === 0 || at === all.length - 1).join("").toUpperCase();

export const face = (who) => make("span", { class: `face colour-${colourOf(who.id)}`, "aria-hidden": "true" }, initials(who.name));

/** The parent's children become these nodes; those in place already stay untouched, with their focus and selection. */
export function arrange(parent, nodes) {
    nodes.forEach((node, at) => parent.children[at] !== node && parent.insertBefore(node, parent.children[at] ?? null));
    while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}
