// How good the line is: round trip to the machine, pictures a second, bytes.

const KEPT = 7;
// FramebufferUpdateRequest of the first pixel, not incremental: the machine answers at once (RFC 6143, 7.5.3)
const QUESTION = new Uint8Array([3, 0, 0, 0, 0, 0, 0, 1, 0, 1]);

export class Meter {
    trips = [];
    down = 0;
    up = 0;
    frames = 0;
    rate = 0;

    constructor() {
        let before = 0;
        setInterval(() => {
            this.rate = this.frames - before;
            before = this.frames;
        }, 1000);
    }

    /** Count what is sent on this socket. */
    follow(socket) {
        const send = socket.send.bind(socket);
        this.asked = 0;
        socket.send = (data) => {
            this.up += data.byteLength ?? data.length;
            send(data);
        };
    }

    ask(socket) {
        if (this.asked) return;
        this.asked = performance.now();
        socket.send(QUESTION);
    }

    received(bytes) {
        this.down += bytes;
        if (!this.asked) return;
        this.trips = [...this.trips, performance.now() - this.asked].slice(-KEPT);
        this.asked = 0;
    }

    /** Count the pictures: each reaches the canvas by drawImage. */
    watch(canvas) {
        const context = canvas.getContext("2d");
        const draw = context.drawImage.bind(context);
        context.drawImage = (...args) => {
            this.frames += 1;
            draw(...args);
        };
    }

    /** The median round trip in ms, or null. */
    get trip() {
        const sorted = [...this.trips].sort((a, b) => a - b);
        return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
    }

    /** good, fair or poor. */
    get grade() {
        return this.trip === null || this.trip < 90 ? "good" : this.trip < 250 ? "fair" : "poor";
    }
}
