// What people draw over the machine's screen. It fades by itself: who comes later has missed nothing that stays.

import { colourOf, make } from "./dom.js";

const STAYS = 20000; // ms
const FADES = 1500; // ms
const WIDTH = 4; // pixels
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Ink {
    constructor(room, stage) {
        Object.assign(this, { room, stage, strokes: new Map(), mine: new Set(), timer: 0 });
        this.canvas = make("canvas", { id: "ink", "aria-hidden": "true" });
        this.pen = this.canvas.getContext("2d");
        stage.addEventListener("moved", () => this.#draw());
        room.addEventListener("stroke", ({ detail }) => this.mine.has(detail.stroke) || this.add(detail));
        room.addEventListener("clear", ({ detail }) => this.clear(detail.who.id));
    }

    /** More points of a stroke, from 0 to 1. */
    add({ who, stroke, points }) {
        const key = `${who.id} ${stroke}`;
        const line = this.strokes.get(key) ?? { who: who.id, points: [] };
        line.points.push(...points);
        line.at = performance.now();
        this.strokes.set(key, line);
        this.#soon();
    }

    /** What this person drew; the owner clears everybody's. */
    clear(id) {
        const all = id === this.room.facts?.owner.id;
        for (const [key, line] of this.strokes) {
            if (all || line.who === id) this.strokes.delete(key);
        }
        this.#soon();
    }

    #soon() {
        cancelAnimationFrame(this.timer);
        this.timer = requestAnimationFrame(() => this.#draw());
    }

    /** Without a drawing the screen's is the only canvas of the page. */
    #draw() {
        if (!this.strokes.size) return this.canvas.remove();
        if (!this.canvas.isConnected) this.stage.layer.append(this.canvas);
        const { width, height } = this.stage.layer.getBoundingClientRect();
        const scale = devicePixelRatio;
        Object.assign(this.canvas, { width: width * scale, height: height * scale });
        this.pen.scale(scale, scale);
        const now = performance.now();
        for (const [key, line] of this.strokes) {
            const left = line.at + STAYS + (calm.matches ? 0 : FADES) - now;
            if (left <= 0) this.strokes.delete(key);
            else this.#stroke(line, Math.min(1, left / FADES));
        }
        return this.strokes.size ? this.#again(now) : this.canvas.remove();
    }

    /** Frame by frame while something fades, else when the oldest stroke begins to. */
    #again(now) {
        clearTimeout(this.waiting);
        const first = Math.min(...[...this.strokes.values()].map((line) => line.at + STAYS - now));
        if (first <= 0) this.#soon();
        else this.waiting = setTimeout(() => this.#soon(), first);
    }

    /** White beneath the colour: to be seen on every ground. */
    #stroke({ who, points }, strength) {
        const path = new Path2D();
        points.forEach(([x, y]) => path.lineTo(...this.stage.pixels({ x, y })));
        if (points.length === 1) path.lineTo(...this.stage.pixels({ x: points[0][0], y: points[0][1] }));
        const colour = getComputedStyle(this.canvas).getPropertyValue(`--colour-${colourOf(who)}`);
        Object.assign(this.pen, { globalAlpha: strength, lineCap: "round", lineJoin: "round" });
        for (const [style, wide] of [["#fff", WIDTH + 3], [colour, WIDTH]]) {
            Object.assign(this.pen, { strokeStyle: style, lineWidth: wide });
            this.pen.stroke(path);
        }
    }
}
