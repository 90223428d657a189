// Everybody's pointer with their name, on everybody else's screen; and the laser of those who point on purpose.

import { colourOf, make } from "./dom.js";

const EVERY = 50; // ms between two places that are sent
const STILL = 4000; // ms after which a pointer that does not move fades
const GONE = 600; // ms after which a laser that nobody moves is off

/** At most one call in `ms`; the last one is never lost. */
export function throttled(ms, act) {
    let timer = 0;
    let next = null;
    const run = () => {
        timer = 0;
        if (!next) return;
        timer = setTimeout(run, ms);
        act(...next);
        next = null;
    };
    return (...args) => {
        next = args;
        if (!timer) run();
    };
}

export class Pointers {
    constructor(room, stage) {
        Object.assign(this, { room, stage, shown: new Map() });
        const tell = throttled(EVERY, (at) => room.say("pointer", at ?? {}));
        stage.screen.addEventListener("pointermove", (event) => this.#mayBeSeen && tell(stage.at(event)), true);
        stage.screen.addEventListener("pointerleave", () => this.#mayBeSeen && tell(null));
        stage.addEventListener("moved", () => this.shown.forEach((one) => this.#move(one)));
        room.addEventListener("pointer", ({ detail }) => this.#others(detail, STILL));
        room.addEventListener("laser", ({ detail }) => this.#others(detail, GONE));
        room.addEventListener("change", () => this.#forget());
    }

    get #mayBeSeen() {
        return this.room.people.length > 1 && (this.room.controls || this.room.facts.watchers_draw);
    }

    #others(message, patience) {
        if (message.who.id !== this.room.me.id) this.show(message, patience);
    }

    /** A pointer or laser at its place; without a place it is gone. */
    show({ type, who, x, y }, patience = GONE) {
        const one = this.shown.get(who.id) ?? this.#make(who);
        clearTimeout(one.timer);
        if (typeof x !== "number") return this.#remove(who.id);
        Object.assign(one, { x, y });
        one.mark.classList.toggle("laser", type === "laser");
        one.mark.classList.remove("still");
        one.timer = setTimeout(() => (type === "laser" ? this.#remove(who.id) : one.mark.classList.add("still")), patience);
        return this.#move(one);
    }

    #make(who) {
        const mark = make("div", { class: `pointer colour-${colourOf(who.id)}`, "aria-hidden": "true" }, make("span", {}, who.name));
        const one = { mark };
        this.shown.set(who.id, one);
        this.stage.layer.append(mark);
        return one;
    }

    #move({ mark, x, y }) {
        const [left, top] = this.stage.pixels({ x, y });
        mark.style.transform = `translate(${left}px, ${top}px)`;
    }

    #remove(id) {
        this.shown.get(id)?.mark.remove();
        this.shown.delete(id);
    }

    /** Who left takes the pointer along. */
    #forget() {
        const here = new Set(this.room.people.map((one) => one.id));
        [...this.shown.keys()].filter((id) => !here.has(id)).forEach((id) => this.#remove(id));
    }
}
