// The link to the machine's screen: one RFB session after another, until the person leaves or may no longer look.

import RFB from "../../vendor/novnc/core/rfb.js";

const WAITS = [0.5, 1, 2, 4, 8]; // seconds between attempts; the last repeats
const SILENCE = 8000; // ms without a byte after which a line counts as broken
const SIGN_IN = 4401, WITHDRAWN = 4403, NOT_FOUND = 4404;
const ASK_FIRST = 4407, COME_AGAIN = 4408, OWNER_AWAY = 4409, STOPPED = 4410;
const AGAIN = { 4429: "tooMany", 4502: "silent" };
const FINAL = { [SIGN_IN]: "signedOut", [NOT_FOUND]: "notFound" };
const SHUT = { [ASK_FIRST]: "askFirst", [OWNER_AWAY]: "ownerAway" };

const socketAddress = (path) => `${location.protocol.replace("http", "ws")}//${location.host}${path}`;

/**
 * Events: `connect` (detail: rfb), `down` (detail: picture), `trouble` (detail: { what, word, wait, final }). Only a lost
 * line is tried again after a while; what has to change elsewhere first is waited for, until somebody calls `now`.
 */
export class Link extends EventTarget {
    /** `room()` fetches how the person stands to the machine, or null. */
    constructor(place, facts, meter, room) {
        super();
        Object.assign(this, { place, facts, meter, room, attempts: 0, timer: 0, console: false, rfb: null, socket: null });
        window.addEventListener("online", () => this.now());
        window.addEventListener("offline", () => this.#lost("offline"));
        setInterval(() => this.#listenForSilence(), 1000);
        setInterval(() => document.visibilityState === "visible" && this.#ask(), 2000);
    }

    /** Look how the machine is, and connect when there is something to see. */
    async now() {
        clearTimeout(this.timer);
        if (this.over || this.socket) return;
        const state = await this.#state();
        if (this.over || this.socket) return;
        if (state.what) this.#trouble(state);
        else this.#open();
    }

    /** The desktop, or the machine's own screen. */
    show(console) {
        this.console = console;
        this.attempts = 0;
        this.#drop();
        this.now();
    }

    async #state() {
        try {
            const answer = await fetch(this.facts.status, { redirect: "manual", cache: "no-store" });
            if (answer.type === "opaqueredirect" || answer.status === 401) return { what: "signedOut", final: true };
            if (answer.status === 404) return {}; // who came by a public link learns from the screen itself
            if (!answer.ok) return { what: "silent", wait: this.#wait() };
            const machine = await answer.json();
            this.machine = machine;
            if (this.console) return machine.console ? {} : { what: "noConsole" };
            if (machine.ready) return {};
            const what = machine.working ? "waiting" : "notRunning";
            return { what, word: machine.step || machine.word, watch: machine.console };
        } catch {
            return { what: navigator.onLine ? "lost" : "offline", wait: this.#wait() };
        }
    }

    #wait() {
        return WAITS[Math.min(this.attempts++, WAITS.length - 1)];
    }

    #trouble(state) {
        this.dispatchEvent(new CustomEvent("trouble", { detail: state }));
        this.over = Boolean(state.final);
        this.rests = !state.final && !state.wait;
        if (state.wait) this.timer = setTimeout(() => this.now(), state.wait * 1000);
    }

    #open() {
        const path = this.console ? this.facts.console : this.facts.screen;
        const socket = new WebSocket(socketAddress(path), ["binary"]);
        this.socket = socket;
        this.rests = false;
        this.heard = Date.now();
        socket.addEventListener("message", (event) => {
            this.heard = Date.now();
            this.meter.received(event.data.byteLength ?? 0);
        });
        socket.addEventListener("close", (event) => this.socket === socket && this.#closed(event.code));
        this.meter.follow(socket);
        this.#speak(socket);
    }

    #speak(socket) {
        const rfb = new RFB(this.place, socket);
        this.rfb = rfb;
        rfb.background = "#05080f";
        rfb.addEventListener("connect", () => {
            if (this.rfb !== rfb) return;
            this.attempts = 0;
            this.up = true;
            this.meter.watch(this.place.querySelector("canvas"));
            this.dispatchEvent(new CustomEvent("connect", { detail: rfb }));
        });
        for (const name of ["clipboard", "desktopname", "bell"]) {
            rfb.addEventListener(name, (event) => this.dispatchEvent(new CustomEvent(name, { detail: event.detail })));
        }
    }

    #closed(code) {
        this.#drop();
        // What one may do changed: the picture stays while another line is opened, at once but not in a circle
        if (code === COME_AGAIN && this.attempts++ === 0) return this.now();
        if (FINAL[code]) return this.#trouble({ what: FINAL[code], final: true });
        if (SHUT[code]) return this.#trouble({ what: SHUT[code] });
        if (code === WITHDRAWN) return this.#shownOut();
        if (code === STOPPED) return this.#trouble({ what: "stopped", wait: this.#wait() });
        const what = !navigator.onLine ? "offline" : AGAIN[code] ?? "lost";
        return this.#trouble({ what, wait: this.#wait() });
    }

    /** For good, for now, or until somebody lets them in again. */
    async #shownOut() {
        const room = await this.room();
        const what = room ? (SHUT[room.me.code] ?? "dismissed") : "withdrawn";
        this.#trouble({ what, final: what === "withdrawn" || what === "dismissed" });
    }

    #lost(what) {
        if (!this.socket) return;
        this.#drop();
        this.#trouble({ what, wait: this.#wait() });
    }

    /** Let go of the line; what was seen last is handed on as a picture. */
    #drop() {
        clearTimeout(this.timer);
        const { socket, rfb } = this;
        this.socket = this.rfb = null;
        if (!socket) return;
        const canvas = this.place.querySelector("canvas");
        if (this.up && canvas?.width) {
            this.dispatchEvent(new CustomEvent("down", { detail: canvas }));
        }
        this.up = false;
        rfb.disconnect();
        socket.close();
        this.place.replaceChildren();
    }

    /** A question that the machine always answers: its round trip, and a sign that the line lives. */
    #ask() {
        if (this.up && this.socket?.readyState === WebSocket.OPEN) this.meter.ask(this.socket);
    }

    #listenForSilence() {
        if (!this.socket || document.visibilityState !== "visible") {
            this.heard = Date.now();
            return;
        }
        if (Date.now() - this.heard > SILENCE) this.#lost("lost");
    }
}
