// What was written and has not arrived yet. It outlives a lost line and a reload of the page.

export class Outbox {
    /** `send(key, text)` answers like `Room.post`; `changed()` is called whenever what waits is another. */
    constructor(name, send, changed) {
        Object.assign(this, { name, send, changed, sending: false });
        this.waiting = JSON.parse(sessionStorage.getItem(name) ?? "[]");
    }

    add(text) {
        this.waiting.push({ key: crypto.randomUUID(), text, at: new Date().toISOString(), error: "" });
        this.#keep();
        this.go();
    }

    /** Send one after the other, in order; a lost line ends it until the next `go`. */
    async go() {
        if (this.sending) return;
        this.sending = true;
        for (let next = this.#next(); next && (await this.#try(next)); next = this.#next());
        this.sending = false;
    }

    #next() {
        return this.waiting.find((one) => !one.error);
    }

    async #try(one) {
        const answer = await this.send(one.key, one.text);
        if (answer.ok) this.take(one.key);
        else if (!answer.lost) one.error = answer.error;
        else one.late = true;
        this.#keep();
        return !answer.lost;
    }

    again(key) {
        this.waiting.find((one) => one.key === key).error = "";
        this.#keep();
        this.go();
    }

    /** Taken out, whether it arrived or its writer wants it back. */
    take(key) {
        this.waiting = this.waiting.filter((one) => one.key !== key);
        this.#keep();
    }

    #keep() {
        sessionStorage.setItem(this.name, JSON.stringify(this.waiting));
        this.changed();
    }
}
