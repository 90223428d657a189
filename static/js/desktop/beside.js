// An application beside the desktop, in a frame of its own origin. The line between them moves by pointer and by keys.

import { make, place } from "../room/dom.js";

const KEPT = "visa-share";
const LEAST = 0.2, MOST = 0.8, STEP = 0.02; // of the window that the application has
// All that an application needs but one: it may not lead this page elsewhere (allow-top-navigation).
const MAY = [
    "scripts", "same-origin", "forms", "modals", "downloads", "popups", "popups-to-escape-sandbox",
].map((what) => `allow-${what}`).join(" ");
const stacked = matchMedia("(max-width: 760px)");

export class Beside {
    constructor(backToWork) {
        Object.assign(this, { pane: place("beside"), line: place("line"), backToWork, slug: "" });
        this.tools = [...document.querySelectorAll("[data-beside]")];
        for (const tool of this.tools) {
            tool.addEventListener("click", () => (tool.dataset.slug === this.slug ? this.close() : this.open(tool)));
        }
        place("beside-close").addEventListener("click", () => this.close());
        place("to-line").addEventListener("click", () => this.slug && this.line.focus());
        this.line.addEventListener("keydown", (event) => this.#keys(event));
        this.line.addEventListener("pointerdown", (event) => this.#drag(event));
        stacked.addEventListener("change", () => this.#lie());
        this.#lie();
        this.#move(Number(localStorage.getItem(KEPT)) || 0.5);
        const asked = new URLSearchParams(location.search).get("beside");
        const tool = this.tools.find((one) => one.dataset.slug === asked);
        if (tool) this.open(tool);
    }

    open({ dataset }) {
        this.slug = dataset.slug;
        place("beside-name").textContent = dataset.name;
        place("beside-tab").href = place("beside-alone").href = dataset.beside;
        this.frame?.remove();
        this.frame = make("iframe", { src: dataset.beside, title: dataset.name, sandbox: MAY, allow: "clipboard-write" });
        this.pane.append(this.frame);
        this.#mark();
    }

    close() {
        this.slug = "";
        this.frame.remove();
        this.#mark();
        this.backToWork();
    }

    /** A reload shows the same two sides. */
    #mark() {
        this.pane.hidden = !this.slug;
        document.body.classList.toggle("with-beside", Boolean(this.slug));
        for (const tool of this.tools) tool.setAttribute("aria-pressed", tool.dataset.slug === this.slug);
        history.replaceState(null, "", this.slug ? `?beside=${this.slug}` : location.pathname);
    }

    /** On a narrow window the application is below the desktop. */
    #lie() {
        this.line.setAttribute("aria-orientation", stacked.matches ? "horizontal" : "vertical");
    }

    #move(share) {
        this.share = Math.min(MOST, Math.max(LEAST, share));
        document.body.style.setProperty("--share", this.share);
        const values = { valuemin: LEAST, valuemax: MOST, valuenow: 1 - this.share };
        for (const [name, value] of Object.entries(values)) this.line.setAttribute(`aria-${name}`, Math.round(value * 100));
    }

    #keep() {
        localStorage.setItem(KEPT, this.share);
    }

    #keys(event) {
        const more = { ArrowLeft: STEP, ArrowUp: STEP, ArrowRight: -STEP, ArrowDown: -STEP, Home: 1, End: -1 }[event.key];
        if (event.key === "Escape") this.backToWork();
        else if (more) this.#move(this.share + more);
        else return;
        this.#keep();
        event.preventDefault();
    }

    /** While it is dragged the frame must not take the pointer. */
    #drag(event) {
        const move = ({ clientX, clientY }) => {
            const { right, bottom } = this.pane.getBoundingClientRect();
            this.#move(stacked.matches ? (bottom - clientY) / bottom : (right - clientX) / right);
        };
        const end = () => {
            document.body.classList.remove("dragging");
            this.line.removeEventListener("pointermove", move);
            this.#keep();
        };
        document.body.classList.add("dragging");
        this.line.setPointerCapture(event.pointerId);
        this.line.addEventListener("pointermove", move);
        this.line.addEventListener("lostpointercapture", end, { once: true });
        event.preventDefault();
    }
}
