// The machine's screen as it lies in the page: places on it are from 0 to 1, so that every viewer's scale may differ.

import { make, place } from "./dom.js";

const round = (part) => Math.round(part * 1e4) / 1e4;

/** Event: `moved` when the picture lies elsewhere in the page. */
export class Stage extends EventTarget {
    constructor(link) {
        super();
        this.screen = place("screen");
        this.layer = make("div", { id: "layer" });
        this.screen.after(this.layer);
        const observer = new ResizeObserver(() => this.dispatchEvent(new Event("moved")));
        observer.observe(this.screen);
        link.addEventListener("connect", () => observer.observe(this.canvas));
    }

    get canvas() {
        return this.screen.querySelector("canvas");
    }

    /** Where the pointer is on the screen, or null beside it. */
    at({ clientX, clientY }) {
        const box = this.canvas?.getBoundingClientRect();
        if (!box?.width) return null;
        const [x, y] = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
        return x >= 0 && x <= 1 && y >= 0 && y <= 1 ? { x: round(x), y: round(y) } : null;
    }

    /** Pixels of the layer at a place of the screen. */
    pixels({ x, y }) {
        const box = this.canvas?.getBoundingClientRect() ?? new DOMRect();
        const base = this.layer.getBoundingClientRect();
        return [box.left - base.left + x * box.width, box.top - base.top + y * box.height];
    }
}
