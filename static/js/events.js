// The events socket: tells what changed, comes back by itself, and says whether it is there.

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const SIGN_IN = 4401;

/**
 * Calls `heard(message)` for each message, `there(true or false)` as the connection comes and goes, and `ended()` once
 * when the sign-in has ended.
 */
export function listen(heard, there, ended) {
    let wait = FIRST_WAIT;
    const connect = () => {
        const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/events/`);
        socket.addEventListener("open", () => {
            wait = FIRST_WAIT;
            there(true);
        });
        socket.addEventListener("message", (event) => heard(JSON.parse(event.data)));
        socket.addEventListener("close", ({ code }) => {
            if (code === SIGN_IN) return ended();
            there(false);
            setTimeout(connect, wait * (0.75 + Math.random() / 2));
            wait = Math.min(wait * 2, LONGEST_WAIT);
        });
    };
    connect();
}
