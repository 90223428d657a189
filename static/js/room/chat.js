// The chat of one machine, beside its desktop or on its page.

import { arrange, clock, dayOf, face, fill, icon, make } from "./dom.js";
import { Outbox } from "./outbox.js";
import { throttled } from "./pointers.js";

const MOST = 2000; // letters in a message
const WARN_FROM = 1800;
const TYPING_EVERY = 3000; // ms
const TYPING_LASTS = 4500;
const TOGETHER = 5 * 60000; // ms within which messages of one person stand under one name
const NEAR = 80; // pixels from the end that still count as reading the end
const RETRY = 5000;
const NEWEST = `chat/?before=${Number.MAX_SAFE_INTEGER}`;
const LINK = /https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}]/gi;

/** The text with its http and https addresses as links: nodes, never markup. */
function* linked(text) {
    let end = 0;
    for (const match of text.matchAll(LINK)) {
        yield text.slice(end, match.index);
        yield make("a", { href: match[0], target: "_blank", rel: "noopener noreferrer" }, match[0]);
        end = match.index + match[0].length;
    }
    yield text.slice(end);
}

/** Events: `unread` (detail: how many), `news` (detail: a message that came while nobody looked). */
export class Chat extends EventTarget {
    constructor(room, root, looking) {
        super();
        Object.assign(this, { room, root, looking, words: room.words, messages: [], typists: new Map(), drawn: new Map(), older: false });
        this.outbox = new Outbox(`visa-chat-${room.id}`, (key, text) => this.#post(key, text), () => this.#sent());
        this.#build();
        room.addEventListener("change", () => this.#allowed());
        room.addEventListener("chat", () => this.#fetchNewer());
        room.addEventListener("unread", () => this.#fetchNewer());
        room.addEventListener("typing", ({ detail }) => this.#types(detail.who));
        room.addEventListener("line", ({ detail }) => detail && this.#back());
        window.addEventListener("online", () => this.outbox.go());
        document.addEventListener("visibilitychange", () => this.look());
    }

    #build() {
        const { words } = this;
        this.more = make("button", { type: "button", class: "button quiet older", hidden: true, on: { click: () => this.#fetchOlder() } }, words.older);
        this.list = make("ol", { class: "messages" });
        this.none = make("p", { class: "talk-none muted" }, icon("message-square"), words.noMessages);
        this.scroll = make("div", { class: "talk-scroll", tabindex: "0", "aria-label": words.chat, role: "log" }, this.more, this.none, this.list);
        this.typing = make("p", { class: "typing small muted", role: "status" });
        this.jump = make("button", { type: "button", class: "button jump", hidden: true, on: { click: () => this.#toEnd() } }, icon("chevron-down"), words.newMessages);
        this.scroll.addEventListener("scroll", () => this.#atEnd && this.look());
        this.whole = make("div", { class: "talk", hidden: true }, this.scroll, this.jump, this.typing, this.#form());
        this.root.append(this.whole);
    }

    #form() {
        const { words } = this;
        const typing = throttled(TYPING_EVERY, () => this.box.value.trim() && this.room.say("typing"));
        const typed = () => {
            this.#measure();
            typing();
        };
        this.box = make("textarea", { rows: "1", "aria-label": words.write, placeholder: words.write, enterkeyhint: "send", on: { input: typed, keydown: (event) => this.#key(event) } });
        this.count = make("span", { class: "count small", role: "status" });
        this.button = make("button", { type: "submit", class: "button primary square", title: words.send }, icon("send"), make("span", { class: "unseen" }, words.send));
        const submit = (event) => {
            event.preventDefault();
            this.#send();
        };
        return make("form", { class: "write", on: { submit } }, this.box, this.button, this.count);
    }

    #key(event) {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.#send();
    }

    #measure() {
        const length = [...this.box.value.trim()].length;
        this.box.style.height = "auto";
        this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 160)}px`;
        this.tooLong = length > MOST;
        this.count.textContent = length > WARN_FROM ? `${length} / ${MOST}` : "";
        this.count.classList.toggle("over", this.tooLong);
        this.button.disabled = this.tooLong;
    }

    #send() {
        const text = this.box.value.trim();
        if (!text || this.tooLong) return;
        this.box.value = "";
        this.#measure();
        this.outbox.add(text);
        this.#toEnd();
    }

    /** What arrived is fetched before it ceases to wait: it is always in sight. */
    async #post(key, text) {
        const answer = await this.room.post("chat/send/", { key, text });
        if (answer.ok) await this.#fetchNewer();
        return answer;
    }

    #sent() {
        this.#draw();
        clearTimeout(this.retry);
        if (this.outbox.waiting.some((one) => one.late && !one.error)) this.retry = setTimeout(() => this.outbox.go(), RETRY);
    }

    #allowed() {
        this.whole.hidden = !this.room.me.chats;
        if (this.room.me.chats && !this.begun) this.#begin();
        else this.#tellUnread();
    }

    /** The newest page comes first: what is newer than nothing would be the whole history. */
    async #begin() {
        if (this.beginning) return;
        this.beginning = true;
        await this.#fetch(NEWEST);
        this.beginning = false;
        this.begun = this.unread !== undefined;
        await this.#fetchNewer(); // what came meanwhile
        this.outbox.go();
    }

    #back() {
        if (this.begun) this.#fetchNewer();
        this.outbox.go();
    }

    async #fetchNewer() {
        if (!this.begun) return;
        const last = this.messages.at(-1);
        const more = await this.#fetch(`chat/?after=${last?.n ?? 0}`);
        if (more) await this.#fetchNewer();
    }

    async #fetchOlder() {
        const height = this.scroll.scrollHeight - this.scroll.scrollTop;
        this.drawn.clear(); // what was the first of its day is no longer
        await this.#fetch(`chat/?before=${this.messages[0].n}`);
        this.scroll.scrollTop = this.scroll.scrollHeight - height;
    }

    /** Takes what the server has at this address; whether there is more in that direction. */
    async #fetch(path) {
        const answer = await this.room.get(path);
        if (!answer) return false;
        const stay = this.#atEnd;
        const [fresh, newest] = [this.#take(answer.messages), this.messages.at(-1)?.n];
        if (!path.includes("after=")) this.older = answer.more;
        this.unread = answer.unread;
        this.#draw();
        if (stay && newest) this.#toEnd();
        this.#notice(path.includes("after=") ? fresh : []);
        this.look();
        return answer.more;
    }

    /** New ones among these, which are sorted in by their number. */
    #take(rows) {
        const known = new Set(this.messages.map((one) => one.n));
        const fresh = rows.filter((one) => !known.has(one.n));
        this.messages = [...this.messages, ...fresh].sort((a, b) => a.n - b.n);
        fresh.forEach((one) => this.typists.delete(one.who?.id));
        this.#sayTyping();
        return fresh;
    }

    #notice(fresh) {
        const others = fresh.filter((one) => !one.mine);
        if (!others.length) return;
        this.jump.hidden = this.#atEnd;
        if (!this.#looks) this.dispatchEvent(new CustomEvent("news", { detail: others.at(-1) }));
    }

    get #looks() {
        return this.looking() && document.visibilityState === "visible";
    }

    get #atEnd() {
        return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < NEAR;
    }

    #toEnd() {
        this.scroll.scrollTop = this.scroll.scrollHeight;
        this.jump.hidden = true;
    }

    /** Whoever sees the end has read it. */
    look() {
        const last = this.messages.at(-1);
        if (this.unread && last && this.#looks && this.#atEnd) {
            this.unread = 0;
            this.room.post("chat/read/", { upto: last.n });
        }
        if (this.#atEnd) this.jump.hidden = true;
        this.#tellUnread();
    }

    /** Shown now, it begins at its end. */
    show() {
        this.#measure();
        this.#toEnd();
        this.look();
    }

    #tellUnread() {
        this.dispatchEvent(new CustomEvent("unread", { detail: this.unread ?? this.room.facts?.unread ?? 0 }));
    }

    #types(who) {
        if (who.id === this.room.me.id) return;
        clearTimeout(this.typists.get(who.id)?.timer);
        const over = () => {
            this.typists.delete(who.id);
            this.#sayTyping();
        };
        this.typists.set(who.id, { name: who.name, timer: setTimeout(over, TYPING_LASTS) });
        this.#sayTyping();
    }

    #sayTyping() {
        const names = [...this.typists.values()].map((one) => one.name);
        const sentence = names.length > 1 ? this.words.manyType : this.words.types;
        this.typing.textContent = names.length ? fill(sentence, names.join(", ")) : "";
    }

    #draw() {
        const { waiting } = this.outbox;
        this.none.hidden = this.messages.length + waiting.length > 0;
        this.more.hidden = !this.older;
        arrange(this.list, [...this.#said(), ...waiting.map((one) => this.#waits(one))]);
    }

    /** The messages with a line before each day; made once, so that nothing is read out twice. */
    #said() {
        let before = null;
        return this.messages.flatMap((one) => {
            const made = this.drawn.get(one.n) ?? this.#withDay(one, before);
            this.drawn.set(one.n, made);
            before = one;
            return made;
        });
    }

    #withDay(one, before) {
        if (before && dayOf(before.at) === dayOf(one.at)) return [this.#row(one, before)];
        return [make("li", { class: "day small" }, dayOf(one.at)), this.#row(one, null)];
    }

    #row(one, before) {
        const who = one.who ?? { id: "", name: this.words.somebody };
        const follows = before && before.who?.id === one.who?.id && Date.parse(one.at) - Date.parse(before.at) < TOGETHER;
        const name = one.mine ? this.words.you : who.name;
        const head = make("p", { class: follows ? "unseen" : "said-by small" }, make("strong", {}, name), " ", make("time", { datetime: one.at, class: "muted" }, clock(one.at)));
        const text = make("p", { class: "bubble", title: clock(one.at) }, ...linked(one.text));
        return make("li", { class: `said ${one.mine ? "mine" : ""} ${follows ? "follows" : ""}` }, one.mine ? null : face(who), make("div", {}, head, text));
    }

    #waits(one) {
        const back = () => {
            this.box.value = [one.text, this.box.value].filter(Boolean).join("\n");
            this.outbox.take(one.key);
            this.#measure();
            this.box.focus();
        };
        const acts = one.error ? [this.#small(this.words.again, () => this.outbox.again(one.key)), this.#small(this.words.takeBack, back)] : [];
        const state = one.error ? `${this.words.notSent} ${one.error}` : one.late ? this.words.waitsForNetwork : this.words.sending;
        return make("li", { class: `said mine waiting ${one.error ? "failed" : ""}` }, make("div", {}, make("p", { class: "bubble" }, one.text), make("p", { class: "small muted", role: "status" }, state, ...acts)));
    }

    #small(label, click) {
        return make("button", { type: "button", class: "linklike", on: { click } }, label);
    }
}
