// Uploads, one after the other, in pieces. What breaks off goes on where the machine says that it is.

import { AGAIN, Refused, SHUT, ask, at, change, join, keyOf, size, words } from "./api.js";

const PIECE = 4 * 1024 * 1024;
const WAITS = [1, 2, 4, 8];
const place = (id) => document.getElementById(id);
const queue = [];
let running = false;

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

class Upload {
    constructor(file, folder, name) {
        Object.assign(this, { file, folder, name, replace: false });
        this.row = document.createElement("li");
        this.label = Object.assign(document.createElement("span"), { className: "break", textContent: name });
        this.state = Object.assign(document.createElement("span"), { className: "small muted" });
        this.acts = Object.assign(document.createElement("span"), { className: "row" });
        this.bar = Object.assign(document.createElement("progress"), { max: file.size || 1, value: 0 });
        this.bar.setAttribute("aria-label", name);
        this.row.append(this.label, this.state, this.acts, this.bar);
        this.#offer([[words.cancel, () => this.cancel()]]);
    }

    get facts() {
        const { file } = this;
        const modified = Math.floor(file.lastModified / 1000);
        return { path: this.folder, name: keyOf(this.name), size: file.size, modified };
    }

    cancel() {
        this.cancelled = true;
        this.abort?.abort();
        this.#end(words.cancelled, "");
        this.answered?.();
        this.#giveUp();
    }

    /** Nothing of it stays at the machine, whose disk it may have filled. */
    #giveUp() {
        if (this.begun) ask(at.upload, this.facts, { method: "DELETE" }).catch(() => {});
    }

    async run() {
        for (let attempt = 0; !this.cancelled; attempt++) {
            try {
                await this.#send(() => (attempt = 0));
                return;
            } catch (error) {
                if (this.cancelled || !(await this.#goesOn(error, attempt))) return;
            }
        }
    }

    /** Whether it is worth another attempt, once it is time for that. */
    async #goesOn(error, attempt) {
        if (error.what === "exists") return this.#mayReplace();
        const why = SHUT[error.code];
        const passes = error instanceof Refused ? why in AGAIN || error.what === "offset" || error.status >= 500 : error instanceof TypeError;
        if (!passes) {
            this.failed = true;
            const here = error instanceof DOMException ? words.unreadable : words.failed;
            this.#end(words[why] ?? (error instanceof Refused ? error.message : here), "bad");
            place("told").textContent = `${this.name}: ${this.state.textContent}`;
            if (error.what === "failed") this.#giveUp();
            return false;
        }
        this.state.textContent = words[why] ?? words.waits;
        await pause(WAITS[Math.min(attempt, WAITS.length - 1)]);
        return true;
    }

    async #send(progressed) {
        this.begun = true;
        let { offset, done } = await (await ask(at.upload, this.facts)).json();
        const there = done && !this.sent;
        while (!done && !this.cancelled) {
            this.#show(offset);
            const facts = { ...this.facts, offset, ...(this.replace ? { replace: "1" } : {}) };
            const body = await this.file.slice(offset, offset + PIECE).arrayBuffer(); // raises where it changed meanwhile
            if (this.cancelled) return;
            this.abort = new AbortController();
            const options = { method: "PUT", body, signal: this.abort.signal };
            this.sent = true;
            ({ offset, done } = await (await ask(at.upload, facts, options)).json());
            progressed();
        }
        if (this.cancelled) return;
        this.#show(offset);
        this.#end(there ? words.there : words.arrived, "done");
    }

    #show(offset) {
        this.bar.value = offset || (this.file.size ? 0 : 1);
        this.state.textContent = words.uploading.replace("%s", size(offset)).replace("%s", size(this.file.size));
    }

    #mayReplace() {
        return new Promise((done) => {
            this.state.textContent = words.exists;
            place("told").textContent = `${this.name}: ${words.exists}`;
            this.answered = () => done(false);
            this.#offer([
                [words.replace, () => done((this.replace = true))],
                [words.skip, () => this.cancel()],
            ]);
            this.acts.firstChild.focus();
        });
    }

    #end(text, tone) {
        this.over = true;
        this.state.textContent = text;
        this.state.className = `small ${tone || "muted"}`;
        this.acts.replaceChildren();
    }

    #offer(acts) {
        this.acts.replaceChildren(
            ...acts.map(([label, does]) => {
                const button = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: label });
                button.addEventListener("click", does);
                return button;
            }),
        );
    }
}

const work = async (changed) => {
    if (running) return;
    running = true;
    const taken = [];
    for (let next; (next = queue.find((one) => !one.over)); ) {
        taken.push(next);
        await next.run();
        next.over = true;
        changed(next.folder);
    }
    running = false;
    const failed = taken.filter((one) => one.failed).length;
    if (failed) place("told").textContent = words.someFailed.replace("%s", failed);
    else if (taken.some((one) => !one.cancelled)) place("told").textContent = words.allDone;
};

const add = (file, folder, name, changed) => {
    const upload = new Upload(file, folder, name);
    queue.push(upload);
    place("queue").append(upload.row);
    place("uploads").hidden = false;
    work(changed);
};

export const uploadFiles = (files, folder, changed) => {
    for (const file of files) add(file, folder, file.name, changed);
};

const read = (reader) => new Promise((done, failed) => reader.readEntries(done, failed));
const asFile = (entry) => new Promise((done, failed) => entry.file(done, failed));

const uploadEntry = async (entry, folder, changed) => {
    if (entry.isFile) {
        add(await asFile(entry), folder, entry.name, changed);
        return;
    }
    const inner = join(folder, keyOf(entry.name));
    await change({ act: "folder", path: folder, name: keyOf(entry.name) }).catch((error) => {
        if (!["exists", "failed"].includes(error.what)) throw error; // it is there: what follows goes into it
    });
    changed(folder);
    const reader = entry.createReader();
    for (let found = await read(reader); found.length; found = await read(reader)) {
        for (const one of found) await uploadEntry(one, inner, changed);
    }
};

/** What was dropped: files, and folders with everything in them. */
export const uploadDropped = async (transfer, folder, changed) => {
    // Entries must be taken at once: the browser forgets them after the event.
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    for (const entry of entries) await uploadEntry(entry, folder, changed);
};

addEventListener("beforeunload", (event) => {
    if (queue.some((one) => !one.over)) event.preventDefault();
});
