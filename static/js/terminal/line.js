// The line to the machine's terminal: one socket after another, until the person leaves or may no longer look.

const WAITS = [0.5, 1, 2, 4, 8]; // seconds between attempts; the last repeats
const COME_AGAIN = 4408, ENDED = 4411;
const AGAIN = { 4429: "tooMany", 4502: "silent" };
const REST = { 4403: "withdrawn", 4404: "notFound", 4401: "signedOut", 4407: "askFirst", 4409: "ownerAway", [ENDED]: "ended" };
const ASKS = new Set(["askFirst", "ownerAway"]); // may change without us: looked at again, slowly
const ACKNOWLEDGE = 32 * 1024; // bytes drawn after which the machine is told

const address = (path) => `${location.protocol.replace("http", "ws")}//${location.host}${path}`;

/** Events: `up`, `bytes` (detail: Uint8Array), `types` (detail: boolean), `trouble` (detail: { what, word, wait }). */
export class Line extends EventTarget {
    constructor(facts, size) {
        super();
        Object.assign(this, { facts, size, attempts: 0, timer: 0, socket: null, undrawn: 0 });
        window.addEventListener("online", () => this.now());
        window.addEventListener("offline", () => this.#drop("offline"));
    }

    /** Look how the machine is, and connect when it is there. */
    async now() {
        clearTimeout(this.timer);
        if (this.socket || this.looking) return;
        this.looking = true;
        const trouble = await this.#trouble();
        this.looking = false;
        if (trouble) this.#tell(trouble);
        else this.#open();
    }

    type(text) {
        if (this.socket?.readyState !== WebSocket.OPEN) return;
        const bytes = new TextEncoder().encode(text);
        // A long paste goes in pieces: the server takes no message longer than a megabyte.
        for (let at = 0; at < bytes.length; at += 65536) this.socket.send(bytes.subarray(at, at + 65536));
    }

    resize() {
        this.#say(this.size());
    }

    drawn(count) {
        this.undrawn += count;
        if (this.undrawn < ACKNOWLEDGE) return;
        this.#say({ drawn: this.undrawn });
        this.undrawn = 0;
    }

    #say(note) {
        if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(note));
    }

    async #trouble() {
        try {
            const answer = await fetch(this.facts.status, { redirect: "manual", cache: "no-store" });
            if (answer.type === "opaqueredirect" || answer.status === 401) return { what: "signedOut" };
            if (answer.status === 404) return { what: "notFound" };
            if (!answer.ok) return { what: "silent", wait: this.#wait() };
            const machine = await answer.json();
            if (machine.ready) return null;
            const what = machine.working ? "waiting" : "notRunning";
            return { what, word: machine.step || machine.word, wait: 3 };
        } catch {
            return { what: navigator.onLine ? "lost" : "offline", wait: this.#wait() };
        }
    }

    #wait() {
        return WAITS[Math.min(this.attempts++, WAITS.length - 1)];
    }

    #tell(trouble) {
        this.dispatchEvent(new CustomEvent("trouble", { detail: trouble }));
        if (trouble.wait) this.timer = setTimeout(() => this.now(), trouble.wait * 1000);
    }

    #open() {
        const socket = new WebSocket(address(this.facts.socket), ["binary"]);
        socket.binaryType = "arraybuffer";
        this.socket = socket;
        this.undrawn = 0;
        socket.addEventListener("open", () => this.resize());
        socket.addEventListener("message", ({ data }) => this.socket === socket && this.#heard(data));
        socket.addEventListener("close", ({ code }) => this.socket === socket && this.#closed(code));
    }

    #heard(data) {
        if (typeof data !== "string") {
            this.dispatchEvent(new CustomEvent("bytes", { detail: new Uint8Array(data) }));
            return;
        }
        if (this.attempts !== 0 || !this.up) this.dispatchEvent(new Event("up"));
        this.attempts = 0;
        this.up = true;
        this.dispatchEvent(new CustomEvent("types", { detail: JSON.parse(data).types }));
    }

    #closed(code) {
        this.socket = null;
        this.up = false;
        if (code === COME_AGAIN && this.attempts++ === 0) return this.now();
        const what = REST[code] ?? (navigator.onLine ? AGAIN[code] ?? "lost" : "offline");
        const wait = ASKS.has(what) ? 8 : REST[code] ? 0 : this.#wait();
        return this.#tell({ what, wait });
    }

    #drop(what) {
        this.socket?.close();
        this.socket = null;
        this.up = false;
        this.#tell({ what, wait: this.#wait() });
    }
}
