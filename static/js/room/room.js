// What is so in a machine's room, and what happens there: fetched anew whenever the events socket says that it changed.

import { listen, say } from "../events.js";

const csrf = () => document.querySelector("[name=csrfmiddlewaretoken]").value;

/**
 * Events: `change` (detail: the room before), `line` (detail: whether the events socket is there), and each message of
 * the events socket about this machine under its own type.
 */
export class Room extends EventTarget {
    constructor({ id, machine, words }) {
        super();
        Object.assign(this, { id, address: machine, words, facts: null, asking: null, again: false });
        listen((message) => this.#heard(message), (yes) => this.#there(yes), () => {});
    }

    get me() {
        return this.facts?.me ?? {};
    }

    get people() {
        return this.facts?.people ?? [];
    }

    get owns() {
        return this.me.relation === "owner";
    }

    /** Whether what the person does reaches the machine now. */
    get controls() {
        return this.me.role === "control" && !this.me.muted;
    }

    /** Tell those who look at this machine now; nothing is kept where nobody hears it. */
    say(type, fields = {}) {
        return say({ type, id: this.id, ...fields });
    }

    /** One question at a time; what changed meanwhile is asked for afterwards. */
    async refresh() {
        if (this.asking) {
            this.again = true;
            return;
        }
        this.again = false;
        this.asking = this.get("room/");
        const answer = await this.asking;
        this.asking = null;
        if (answer) this.#take(answer);
        if (this.again) this.refresh();
    }

    #take(answer) {
        const before = this.facts;
        this.facts = answer;
        this.dispatchEvent(new CustomEvent("change", { detail: before }));
    }

    /** What is at this address of the machine, or null. */
    async get(path) {
        try {
            const answer = await fetch(this.address + path, { redirect: "manual", cache: "no-store" });
            return answer.ok ? await answer.json() : null;
        } catch {
            return null;
        }
    }

    /** The server's answer; `ok` says whether it was done, `error` why not, `lost` that it may never have arrived. */
    async post(path, fields = {}) {
        const headers = { "X-CSRFToken": csrf() };
        try {
            const sent = { method: "POST", headers, body: new URLSearchParams(fields), redirect: "manual" };
            const answer = await fetch(this.address + path, sent);
            if (answer.type === "opaqueredirect") return { ok: false, error: this.words.signedOut };
            if (answer.status >= 500) return { ok: false, lost: true, error: this.words.failed };
            return { error: answer.ok ? undefined : this.words.failed, ...(await answer.json()), ok: answer.ok };
        } catch {
            return { ok: false, lost: true, error: this.words.failed };
        }
    }

    /** Like `post`, and what went wrong is said. */
    async act(path, fields) {
        const answer = await this.post(path, fields);
        if (!answer.ok) this.dispatchEvent(new CustomEvent("refused", { detail: answer.error }));
        return answer;
    }

    #there(yes) {
        if (yes) {
            this.say("join");
            this.refresh();
        }
        this.dispatchEvent(new CustomEvent("line", { detail: yes }));
    }

    #heard(message) {
        if (message.id !== this.id) return;
        if (message.type === "room" || message.type === "request") this.refresh();
        this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
    }
}
