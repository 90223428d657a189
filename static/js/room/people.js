// Who is at the machine's screen, what they may do, and what the owner may change about it.

import { arrange, button, clock, face, fill, icon, make } from "./dom.js";

const SLOW = 90; // ms of round trip from which a connection is slow, and poor: as meter.js grades them
const POOR = 250;
const FORGET = 15000; // ms after which an old measurement says nothing
const gradeOf = (ms) => (ms < SLOW ? "good" : ms < POOR ? "fair" : "poor");

/** What a person is, in words. */
export function roleWord(words, person) {
    if (person.relation === "support") return person.until ? fill(words.supportUntil, clock(person.until)) : words.support;
    return { owner: words.owner, user: words.user, guest: words.guest, public: words.guest }[person.relation];
}

export class People {
    constructor(room, root) {
        Object.assign(this, { room, words: room.words, rows: new Map(), lines: new Map() });
        this.title = make("h3", { class: "side-title" });
        this.list = make("ul", { class: "here" });
        this.outside = make("p", { class: "muted" }, room.words.outside);
        root.append(make("section", { "aria-label": room.words.people }, this.title, this.list, this.outside));
        room.addEventListener("change", () => this.#draw());
        room.addEventListener("quality", ({ detail }) => this.measured(detail.who.id, detail.ms));
        document.addEventListener("click", (event) => this.#closeMenus(event.target.closest("details")));
        document.addEventListener("keydown", (event) => event.key === "Escape" && this.#closeMenus(null));
    }

    /** The round trip of this person's line, in ms. */
    measured(id, ms) {
        this.lines.set(id, { ms, at: Date.now() });
        const row = this.rows.get(id);
        if (row) this.#line(row, id);
    }

    #draw() {
        const { people, me } = this.room;
        const first = (one) => one.id !== me.id;
        const here = [...people].sort((a, b) => first(a) - first(b));
        this.title.textContent = fill(this.words.hereNow, here.length);
        this.title.hidden = !(this.outside.hidden = Boolean(this.room.facts.mode));
        const gone = new Set(this.rows.keys());
        here.forEach((one) => gone.delete(one.id));
        gone.forEach((id) => this.rows.delete(id));
        arrange(this.list, here.map((one) => this.#row(one).whole));
    }

    #row(person) {
        const row = this.rows.get(person.id) ?? this.#make(person);
        this.rows.set(person.id, row);
        const mine = person.id === this.room.me.id;
        row.name.textContent = mine ? fill(this.words.nameYou, person.name) : person.name;
        row.role.textContent = [roleWord(this.words, person), person.affiliation].filter(Boolean).join(" · ");
        row.mark.replaceChildren(...this.#marks(person));
        this.#acts(row, person, mine);
        this.#line(row, person.id);
        return row;
    }

    #make(person) {
        const row = { name: make("strong", { class: "break" }), role: make("span", { class: "small muted break" }) };
        row.mark = make("span", { class: "marks" });
        row.line = make("span", { class: "line" }, make("i"), make("i"), make("i"), make("span", { class: "unseen" }));
        row.menu = make("details", { class: "menu" });
        const who = make("span", { class: "who" }, row.name, row.role, row.mark);
        row.whole = make("li", {}, face(person), who, row.line, row.menu);
        return row;
    }

    #marks(person) {
        const { mode, frozen } = this.room.facts;
        const marks = [];
        if (person.control && (mode === "baton" || frozen)) marks.push(make("span", { class: "chip held" }, icon("mouse-pointer"), this.words.hasControl));
        if (person.asks) marks.push(make("span", { class: "chip" }, icon("hand"), this.words.asksControl));
        return marks;
    }

    #line({ line }, id) {
        const measured = this.lines.get(id);
        const grade = measured && Date.now() - measured.at < FORGET ? gradeOf(measured.ms) : "";
        line.className = `line ${grade}`;
        line.title = grade ? `${this.words[grade]}, ${Math.round(measured.ms)} ms` : "";
        line.lastElementChild.textContent = line.title;
    }

    #acts(row, person, mine) {
        const acts = this.#may(person, mine);
        row.menu.hidden = !acts.length;
        const wanted = acts.map(([label]) => label).join();
        if (row.acts === wanted) return;
        row.acts = wanted;
        const close = (act) => () => {
            row.menu.open = false;
            act();
        };
        const buttons = acts.map(([label, sign, act]) => make("button", { type: "button", on: { click: close(act) } }, icon(sign), label));
        const summary = make("summary", { class: "tool", title: fill(this.words.actsFor, person.name) }, icon("ellipsis-vertical"), make("span", { class: "unseen" }, fill(this.words.actsFor, person.name)));
        row.menu.replaceChildren(summary, make("div", { class: "menu-list" }, ...buttons));
    }

    #may(person, mine) {
        if (!this.room.owns || mine) return [];
        const control = (act) => () => this.room.act("room/control/", { act, to: person.id });
        const baton = this.room.facts.mode === "baton";
        const mayHold = person.relation !== "public" && person.role !== "watch";
        return [
            baton && !person.control && mayHold && [this.words.give, "mouse-pointer", control("give")],
            baton && person.control && [this.words.takeControl, "rotate-ccw", control("take")],
            [this.words.dismiss, "monitor-off", () => this.room.act("room/dismiss/", { user: person.id })],
        ].filter(Boolean);
    }

    #closeMenus(but) {
        for (const menu of this.list.querySelectorAll("details[open]")) if (menu !== but) menu.open = false;
    }
}

/** What holds for everybody, and what one may do about it. */
export class Control {
    constructor(room, root) {
        Object.assign(this, { room, words: room.words });
        this.modes = make("fieldset", { class: "modes" }, make("legend", { class: "unseen" }, room.words.control), ...["free", "baton"].map((mode) => this.#mode(mode)));
        this.freeze = button("freeze", "snowflake", "", () => this.#act(room.facts.frozen ? "thaw" : "freeze"));
        this.said = make("p", { class: "small muted" });
        this.acts = make("div", { class: "row" });
        this.whole = make("section", { class: "control", "aria-label": room.words.control }, this.modes, this.said, this.acts, this.freeze);
        root.append(this.whole);
        room.addEventListener("change", () => this.#draw());
    }

    #mode(mode) {
        const change = () => this.room.act("room/settings/", { mode });
        const input = make("input", { type: "radio", name: "room-mode", value: mode, on: { change } });
        return make("label", {}, input, make("span", {}, this.words[mode]));
    }

    #act(act, fields = {}) {
        return this.room.act("room/control/", { act, ...fields });
    }

    #draw() {
        const { owns, facts } = this.room;
        this.whole.hidden = !facts.mode; // of a room in which one is not, nothing more is known
        if (!facts.mode) return;
        this.modes.hidden = this.freeze.hidden = !owns;
        for (const input of this.modes.querySelectorAll("input")) input.checked = input.value === facts.mode;
        this.freeze.lastElementChild.textContent = facts.frozen ? this.words.thaw : this.words.freeze;
        this.freeze.setAttribute("aria-pressed", facts.frozen);
        this.said.textContent = this.sentence;
        arrange(this.acts, this.offers());
        this.acts.hidden = !this.acts.children.length;
    }

    get #holder() {
        return this.room.people.find((one) => one.id === this.room.facts.holder)?.name ?? this.room.facts.owner.name;
    }

    /** Who has control, for this person to know. */
    get sentence() {
        const { facts, me, owns } = this.room;
        if (facts.frozen && !owns) return fill(this.words.frozen, facts.owner.name);
        if (me.role === "watch") return this.words.youWatch;
        if (facts.mode === "free") return owns ? "" : this.words.everybodyMay;
        return facts.holder === me.id ? this.words.youHaveControl : fill(this.words.someoneHasControl, this.#holder);
    }

    /** Buttons for what this person may do about control now. */
    offers() {
        const { facts, me, owns, people } = this.room;
        if (facts?.mode !== "baton" || (facts.frozen && !owns)) return [];
        if (owns) return [facts.holder !== me.id && this.#offer("takeControl", "take", "rotate-ccw"), this.#lock(facts.locked)].filter(Boolean);
        if (me.role !== "control") return [];
        if (facts.holder === me.id) return [button("", "rotate-ccw", this.words.passBack, () => this.#act("give", { to: facts.owner.id }))];
        if (people.find((one) => one.id === me.id)?.asks) return [this.#offer("withdrawAsk", "withdraw", "x")];
        if (facts.locked) return [];
        const liesAbout = facts.holder === facts.owner.id && !facts.owner_here;
        return [liesAbout ? this.#offer("takeControl", "take", "mouse-pointer") : this.#offer("askControl", "ask", "hand")];
    }

    #offer(word, act, sign) {
        return button("", sign, this.words[word], () => this.#act(act));
    }

    #lock(locked) {
        return this.#offer(locked ? "unlock" : "lock", locked ? "unlock" : "lock", locked ? "lock-open" : "lock");
    }
}

/** The owner's switches. */
export class Settings {
    constructor(room, root) {
        this.room = room;
        this.switches = ["members_alone", "watchers_clipboard", "watchers_draw"].map((name) => this.#switch(name));
        this.whole = make("section", { class: "switches", "aria-label": room.words.settings, hidden: true }, make("h3", { class: "side-title" }, room.words.settings), ...this.switches);
        root.append(this.whole);
        room.addEventListener("change", () => this.#draw());
    }

    #switch(name) {
        const change = async ({ target }) => {
            const { ok } = await this.room.act("room/settings/", { [name]: target.checked ? "on" : "off" });
            if (!ok) target.checked = this.room.facts[name];
        };
        const input = make("input", { type: "checkbox", role: "switch", name, on: { change } });
        return make("label", { class: "switch" }, make("span", {}, this.room.words[name]), input);
    }

    #draw() {
        this.whole.hidden = !this.room.owns;
        for (const input of this.whole.querySelectorAll("input")) input.checked = Boolean(this.room.facts[input.name]);
    }
}
