// Before the screen opens: asking to be let in, waiting for an answer, waiting for the owner. Nothing is asked twice;
// the room says when something changed.

import { arrange, button, countdown, fill, make, place } from "./dom.js";

const ASK_FIRST = 4407;
const SHUT = new Set([ASK_FIRST, 4409]);
const MINUTES = [15, 30, 60, 120, 240];

export class Door {
    constructor(room, link, most) {
        Object.assign(this, { room, link, words: room.words, most });
        this.root = place("door");
        this.form = this.#form();
        this.entry = this.#entry();
        room.addEventListener("change", () => this.look());
        link.addEventListener("connect", () => (this.root.hidden = true));
        setInterval(() => this.#count(), 1000);
    }

    /** Open where one may come in, else say what can be done. */
    look() {
        const { me, facts } = this.room;
        this.root.hidden = me.code !== ASK_FIRST || this.link.up;
        if (!SHUT.has(me.code)) return this.link.rests && this.link.now();
        if (me.code === ASK_FIRST) arrange(this.root, this.#shows(facts.my_request));
    }

    #shows(asked) {
        if (asked?.state === "pending" && Date.parse(asked.expires_at) > Date.now()) return this.#waiting(asked);
        const outcome = { refused: "wasRefused", unanswered: "wasNotAnswered", pending: "wasNotAnswered", ended: "supportEnded" }[asked?.state];
        const said = outcome && this.#sentence(fill(this.words[outcome], this.room.facts.owner.name));
        const away = !this.room.facts.owner_here;
        if (this.room.me.unattended) return [said, this.#sentence(fill(this.words.mayEnter, this.room.facts.owner.name)), this.entry].filter(Boolean);
        return [said, away && this.#sentence(fill(this.words.ownerNotThere, this.room.facts.owner.name)), this.form].filter(Boolean);
    }

    #sentence(text) {
        return make("p", { class: "muted" }, text);
    }

    #waiting(asked) {
        this.until = Date.parse(asked.expires_at);
        this.left ??= make("p", { class: "door-left", role: "timer", "aria-live": "off" });
        this.back ??= button("", "x", this.words.takeBack, () => this.room.act("ask/cancel/"));
        this.#count();
        return [this.#sentence(fill(this.words.wasAsked, this.room.facts.owner.name)), this.left, this.back];
    }

    #count() {
        if (this.root.hidden || !this.left?.isConnected) return;
        const left = (this.until - Date.now()) / 1000;
        this.left.textContent = countdown(Math.max(0, left));
        if (left <= 0) this.look();
    }

    #form() {
        const { words } = this;
        const way = (value, label, checked) => make("label", {}, make("input", { type: "radio", name: "control", value, checked }), label);
        return this.#asking("ask/", words.askToJoin, "door-reason", [
            make("div", { class: "door-row" }, this.#howLong("ask-minutes"), make("fieldset", { class: "ways" }, make("legend", { class: "label" }, words.toDo), way("on", words.toControl, true), way("", words.toWatch))),
        ]);
    }

    #entry() {
        return this.#asking("enter/", this.words.enter, "enter-reason", [this.#howLong("enter-minutes")]);
    }

    #howLong(id) {
        const shown = MINUTES.filter((minutes) => minutes <= this.most);
        const times = (shown.length ? shown : [this.most]).map((minutes) => make("option", { value: minutes, selected: minutes === 30 }, fill(this.words.minutes, minutes)));
        return make("div", { class: "field" }, make("label", { for: id }, this.words.howLong), make("select", { id, name: "minutes" }, ...times));
    }

    /** A form with a reason; what is wrong stands at its field, and what was written stays. */
    #asking(path, label, id, rest) {
        const error = make("p", { class: "errors", role: "alert" });
        const reason = make("textarea", { id, name: "reason", rows: "2", maxlength: "300", required: true, placeholder: this.words.reasonHint });
        const submit = async (event) => {
            event.preventDefault();
            const fields = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value));
            const answer = await this.room.post(path, fields);
            error.textContent = answer.ok ? "" : answer.error;
            reason.toggleAttribute("aria-invalid", answer.field === "reason");
            if (answer.ok) this.room.refresh();
        };
        return make("form", { class: "door-form", on: { submit } }, make("div", { class: "field" }, make("label", { for: id }, this.words.why), reason), ...rest, error, make("button", { class: "button primary" }, label));
    }
}
