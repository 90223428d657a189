// The drawer beside the desktop: people and chat. Open or not is remembered; Esc gives the keyboard back to the machine.

import { place } from "./dom.js";

const KEPT = "visa-side";
const TABS = ["people", "chat"];

/** Event: `show` (detail: the tab that is seen now, or ""). */
export class Drawer extends EventTarget {
    constructor(backToWork) {
        super();
        Object.assign(this, { side: place("side"), tab: "", backToWork });
        for (const tab of TABS) {
            place(`tab-${tab}`).addEventListener("click", () => this.open(tab));
            place(`open-${tab}`).addEventListener("click", () => (this.tab === tab ? this.close() : this.open(tab, true)));
        }
        place("side-close").addEventListener("click", () => this.close());
        this.side.addEventListener("keydown", (event) => this.#keys(event));
        const kept = localStorage.getItem(KEPT);
        if (TABS.includes(kept)) this.open(kept);
    }

    open(tab, withFocus = false) {
        this.tab = tab;
        localStorage.setItem(KEPT, tab);
        this.side.hidden = false;
        document.body.classList.add("with-side");
        this.#mark();
        this.dispatchEvent(new CustomEvent("show", { detail: tab }));
        if (withFocus) (this.side.querySelector(`#panel-${tab} textarea`) ?? place(`tab-${tab}`)).focus();
    }

    close() {
        this.tab = "";
        localStorage.removeItem(KEPT);
        this.side.hidden = true;
        document.body.classList.remove("with-side");
        this.#mark();
        this.dispatchEvent(new CustomEvent("show", { detail: "" }));
        this.backToWork();
    }

    #mark() {
        for (const tab of TABS) {
            const seen = tab === this.tab;
            place(`panel-${tab}`).hidden = !seen;
            place(`tab-${tab}`).setAttribute("aria-selected", seen);
            place(`tab-${tab}`).tabIndex = seen ? 0 : -1;
            place(`open-${tab}`).setAttribute("aria-expanded", seen);
        }
    }

    #keys(event) {
        if (event.key === "Escape" && !event.target.closest("details[open]")) {
            event.preventDefault();
            this.backToWork();
        } else if (event.target.role === "tab" && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
            const other = TABS.find((tab) => tab !== this.tab && !place(`tab-${tab}`).hidden);
            if (!other) return;
            this.open(other);
            place(`tab-${other}`).focus();
        }
    }
}
