// The toolbar: away while one works, back at the upper edge, by its handle, or by Ctrl+Alt+Shift.

const LINGER = 2500; // ms
const SHORTCUTS = { f: "full", s: "shot", p: "open-people", m: "open-chat", d: "draw", r: "to-requests", l: "to-line", "?": "help-open" };
const MODIFIERS = new Set(["Control", "Alt", "Shift"]);

export class Bar {
    constructor(backToWork) {
        this.bar = document.getElementById("bar");
        this.handle = document.getElementById("handle");
        this.backToWork = backToWork;
        this.handle.addEventListener("click", () => this.toggle());
        document.getElementById("edge").addEventListener("pointerenter", () => this.open());
        this.bar.addEventListener("pointerenter", () => clearTimeout(this.timer));
        this.bar.addEventListener("pointerleave", () => this.#later());
        this.bar.addEventListener("focusout", () => this.#later());
        this.bar.addEventListener("keydown", (event) => this.#walk(event));
        window.addEventListener("keydown", (event) => this.#hotkey(event), true);
        for (const sheet of document.querySelectorAll("[popover]")) {
            sheet.addEventListener("toggle", (event) => event.newState === "closed" && this.#later());
        }
    }

    open(withFocus = false) {
        this.bar.classList.add("open");
        this.bar.inert = false;
        this.handle.setAttribute("aria-expanded", "true");
        if (withFocus) this.bar.querySelector("button, a").focus();
        this.#later();
    }

    close() {
        clearTimeout(this.timer);
        this.bar.classList.remove("open");
        this.bar.inert = true;
        this.handle.setAttribute("aria-expanded", "false");
    }

    /** Shown without the keyboard, it takes the keyboard first. */
    toggle() {
        if (this.bar.contains(document.activeElement)) {
            this.close();
            this.backToWork();
        } else {
            this.open(true);
        }
    }

    get #inUse() {
        const here = this.bar.matches(":hover, :focus-within");
        return here || document.querySelector("[popover]:popover-open, dialog[open]");
    }

    #later() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => (this.#inUse ? this.#later() : this.close()), LINGER);
    }

    #hotkey(event) {
        if (MODIFIERS.has(event.key) && event.ctrlKey && event.altKey && event.shiftKey && !event.repeat) {
            event.preventDefault();
            this.toggle();
        }
    }

    #walk(event) {
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        const tools = [...this.bar.querySelectorAll("a, button")].filter((tool) => tool.checkVisibility());
        const at = tools.indexOf(document.activeElement);
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        const shortcut = SHORTCUTS[event.key.toLowerCase()];
        if (step) tools[(at + step + tools.length) % tools.length].focus();
        else if (event.key === "Escape" && !document.querySelector("[popover]:popover-open")) this.toggle();
        else if (event.key.toLowerCase() === "c") document.getElementById("clip").showPopover();
        else if (shortcut) document.getElementById(shortcut)?.click();
        else return;
        event.preventDefault();
    }
}
