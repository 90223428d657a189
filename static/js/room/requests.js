// Who asks the owner for something: a card at the side of the screen, which takes neither the keyboard nor the view.

import { arrange, button, countdown, face, fill, icon, make, place } from "./dom.js";

export class Requests {
    constructor(room) {
        Object.assign(this, { room, words: room.words, cards: new Map(), later: new Set() });
        this.root = place("asks");
        room.addEventListener("change", () => this.#draw());
        setInterval(() => this.#count(), 1000);
    }

    get count() {
        return this.cards.size;
    }

    #draw() {
        const asked = this.room.owns ? [...(this.room.facts.requests ?? []).map((one) => this.#access(one)), ...this.#asks()] : [];
        const kept = new Set(asked.map((card) => card.key));
        [...this.cards.keys()].filter((key) => !kept.has(key)).forEach((key) => this.cards.delete(key));
        arrange(this.root, asked.map((card) => card.whole));
        this.root.hidden = !asked.length;
        this.#count();
    }

    /** Somebody of the facility wants to come in. */
    #access(asked) {
        const { words } = this;
        const answer = (how) => () => this.room.act(`requests/${asked.id}/answer/`, { answer: how });
        const role = asked.roles.length ? ` (${asked.roles[0]})` : "";
        const sentence = fill(words.asksToJoin, `${asked.who.name}${role}`);
        const how = fill(asked.control ? words.wantsControl : words.wantsWatch, asked.minutes);
        const acts = [
            button(asked.control ? "primary" : "", "", words.letInControl, answer("control")),
            button(asked.control ? "" : "primary", "", words.letInWatch, answer("watch")),
            button("quiet", "", words.refuse, answer("refuse")),
        ];
        return this.#card(asked.id, asked.who, sentence, [make("q", { class: "break" }, asked.reason), make("p", { class: "small muted" }, how)], acts, asked.expires_at);
    }

    /** Somebody at the screen wants the baton. */
    #asks() {
        const asking = this.room.people.filter((one) => one.asks);
        const names = new Set(asking.map((one) => one.id));
        [...this.later].filter((id) => !names.has(id)).forEach((id) => this.later.delete(id));
        return asking.filter((one) => !this.later.has(one.id)).map((one) => this.#askFor(one));
    }

    #askFor(person) {
        const give = () => this.room.act("room/control/", { act: "give", to: person.id });
        const notNow = () => {
            this.later.add(person.id);
            this.#draw();
        };
        const acts = [button("primary", "", this.words.give, give), button("quiet", "", this.words.notNow, notNow)];
        return this.#card(`ask ${person.id}`, person, fill(this.words.someoneAsksControl, person.name), [], acts);
    }

    #card(key, who, sentence, details, acts, until) {
        const known = this.cards.get(key);
        if (known) return known;
        const title = make("p", { class: "ask-title", id: `ask-${key.replaceAll(" ", "-")}` }, sentence);
        const time = until && make("span", { class: "small muted ask-time", role: "timer", "aria-live": "off" }, icon("clock"), make("span"));
        const words = make("div", {}, title, ...details, time);
        const parts = [make("div", { class: "ask-head" }, face(who), words), make("div", { class: "ask-acts" }, ...acts)];
        const whole = make("li", {}, make("div", { class: "ask", role: "group", "aria-labelledby": title.id }, ...parts));
        const card = { key, whole, time, until: until && Date.parse(until), began: Date.now() };
        this.cards.set(key, card);
        place("announcer").textContent = `${sentence} ${this.words.askHow}`;
        return card;
    }

    /** The time that is left; whoever did not answer in time is spared the card. */
    #count() {
        for (const { key, whole, time, until } of this.cards.values()) {
            if (!until) continue;
            const left = Math.max(0, (until - Date.now()) / 1000);
            time.lastChild.textContent = fill(this.words.timeLeft, countdown(left));
            if (left === 0) {
                whole.remove();
                this.cards.delete(key);
            }
        }
    }

    /** The keyboard to the first card. */
    focus() {
        this.root.querySelector("button")?.focus();
    }
}
