// Pointing and drawing: while a tool is in the hand, neither mouse nor keys go to the machine.

import { make, icon, place } from "./dom.js";
import { throttled } from "./pointers.js";

const EVERY = 60; // ms between two pieces of a stroke
const AT_ONCE = 63; // points in a piece, besides the one that joins it to the last
const LASER_EVERY = 50;

export class Tools {
    constructor(room, stage, pointers, ink, backToWork) {
        Object.assign(this, { room, stage, pointers, ink, backToWork, tool: "", stroke: null });
        this.strip = this.#strip(room.words);
        place("main").append(this.strip);
        this.opener = place("draw");
        this.opener.addEventListener("click", () => (this.tool ? this.close() : this.open()));
        this.flush = throttled(EVERY, () => this.#send());
        this.laser = throttled(LASER_EVERY, (at) => room.say("laser", at));
        this.#listen(stage.layer);
        room.addEventListener("change", () => this.#allowed());
        window.addEventListener("keydown", (event) => this.#keys(event), true);
    }

    #strip(words) {
        const choose = (name, sign) => make("button", { type: "button", class: "tool", "data-tool": name, "aria-pressed": "false", on: { click: () => this.take(name) } }, icon(sign), words[name]);
        const act = (label, sign, click, hidden = false) => make("button", { type: "button", class: "tool", hidden, on: { click } }, icon(sign), label);
        this.all = act(words.clearAll, "eraser", () => this.clear(), true);
        this.own = act(words.clearOwn, "eraser", () => this.clear());
        const done = act(words.done, "check", () => this.close());
        const strip = make("div", { id: "strip", role: "toolbar", "aria-label": words.draw, hidden: true });
        strip.append(choose("laser", "pointer"), choose("pen", "pencil"), make("span", { class: "bar-line" }), this.own, this.all, make("span", { class: "bar-line" }), done);
        return strip;
    }

    open() {
        this.strip.hidden = false;
        this.opener.setAttribute("aria-pressed", "true");
        this.take("pen");
        this.strip.querySelector("[data-tool=pen]").focus();
    }

    take(tool) {
        this.tool = tool;
        this.stage.layer.dataset.tool = tool;
        for (const one of this.strip.querySelectorAll("[data-tool]")) one.setAttribute("aria-pressed", one.dataset.tool === tool);
    }

    close() {
        if (!this.tool) return;
        this.#up();
        this.tool = "";
        delete this.stage.layer.dataset.tool;
        this.strip.hidden = true;
        this.opener.setAttribute("aria-pressed", "false");
        this.backToWork();
    }

    clear() {
        this.room.say("clear");
        this.ink.clear(this.room.me.id);
    }

    #allowed() {
        const may = Boolean(this.room.me.draws);
        this.opener.hidden = !may;
        this.all.hidden = !this.room.owns;
        this.own.hidden = this.room.owns;
        if (!may) this.close();
    }

    #keys(event) {
        if (event.key !== "Escape" || !this.tool) return;
        event.preventDefault();
        event.stopPropagation();
        this.close();
    }

    #listen(layer) {
        layer.addEventListener("pointerdown", (event) => this.#down(event));
        layer.addEventListener("pointermove", (event) => this.#move(event));
        for (const end of ["pointerup", "pointercancel"]) layer.addEventListener(end, () => this.#up());
        for (const none of ["wheel", "contextmenu"]) layer.addEventListener(none, (event) => event.preventDefault(), { passive: false });
    }

    #down(event) {
        event.preventDefault(); // the strip keeps the keyboard
        if (this.tool !== "pen" || event.button) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        this.stroke = { id: crypto.randomUUID().slice(0, 8), points: [], last: null };
        this.ink.mine.add(this.stroke.id);
        this.#move(event);
    }

    #move(event) {
        const at = this.stage.at(event);
        if (!at) return;
        if (this.tool === "laser") this.#point(at);
        else if (this.stroke) this.#continue([at.x, at.y]);
    }

    #point(at) {
        this.pointers.show({ type: "laser", who: this.room.me, ...at });
        this.laser(at);
    }

    #continue(point) {
        this.stroke.points.push(point);
        this.ink.add({ who: this.room.me, stroke: this.stroke.id, points: [point] });
        this.flush();
    }

    #send() {
        if (!this.stroke?.points.length) return;
        const points = this.stroke.points.splice(0, AT_ONCE);
        this.room.say("stroke", { stroke: this.stroke.id, points });
        if (this.stroke.points.length) this.flush();
    }

    #up() {
        while (this.stroke?.points.length) this.#send();
        this.stroke = null;
    }
}
