// What everybody must know at the moment, at the upper edge: frozen, only watching, support until when, help on its way.

import { arrange, button, clock, fill, icon, make, place } from "./dom.js";

export class Banner {
    constructor(room, control) {
        Object.assign(this, { room, control, words: room.words });
        this.root = place("banner");
        room.addEventListener("change", () => this.#draw());
    }

    #draw() {
        if (!this.room.facts.mode) return arrange(this.root, []);
        const said = [this.#frozen() ?? this.#control(), this.#support(), this.#help()].filter(Boolean);
        const now = JSON.stringify([said.map((one) => one.textContent), this.room.facts.holder]);
        if (now === this.drawn) return;
        this.drawn = now;
        arrange(this.root, said);
    }

    #pill(kind, sign, text, ...acts) {
        return make("div", { class: `pill ${kind}` }, icon(sign), make("span", {}, text), ...acts);
    }

    #act(label, path, fields) {
        return button("small-button", "", label, () => this.room.act(path, fields));
    }

    #frozen() {
        const { facts, owns } = this.room;
        if (!facts.frozen) return null;
        if (!owns) return this.#pill("cold", "snowflake", fill(this.words.frozen, facts.owner.name));
        return this.#pill("cold", "snowflake", this.words.youFroze, this.#act(this.words.thaw, "room/control/", { act: "thaw" }));
    }

    /** Who has control, unless everybody may have it. */
    #control() {
        const { facts, me, owns, people } = this.room;
        const mine = this.room.controls;
        if (mine && (owns || facts.mode === "free")) return null;
        const asks = people.find((one) => one.id === me.id)?.asks;
        const offers = this.control.offers().filter((one) => !owns || facts.holder !== me.id).slice(0, 1);
        offers.forEach((one) => one.classList.add("small-button"));
        return this.#pill("calm", mine ? "mouse-pointer" : "eye", asks ? this.words.youAsked : this.control.sentence, ...offers);
    }

    #support() {
        const { me } = this.room;
        if (!me.until) return null;
        return this.#pill("", "life-buoy", fill(this.words.supporting, clock(me.until)), this.#act(this.words.end, "support/end/"));
    }

    #help() {
        const { facts, owns } = this.room;
        if (!owns || !facts.help) return null;
        const waits = facts.help.escalated ? this.words.helpAtIt : this.words.helpWaits;
        const text = facts.help.taken_by ? fill(this.words.helpTaken, facts.help.taken_by) : waits;
        return this.#pill("", "hand", text, this.#act(this.words.helpDone, "help/close/"));
    }
}
