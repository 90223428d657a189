// The events socket, one a tab: tells what changed, comes back by itself, and says whether it is there.

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const SIGN_IN = 4401;
const SLACK = 1000; // the servers' clocks agree to within this

const listeners = new Set();
let socket = null;
let ready = false;
let missed = false;
let before = performance.getEntriesByType("navigation")[0]?.type === "back_forward"; // what the browser kept may be old
let wait = FIRST_WAIT;

const tellAll = (what, ...said) => listeners.forEach((one) => one[what](...said));

/**
 * Calls `heard(message)` for each message, `there(yes, missed)` as the connection comes and goes, and `ended()` once when
 * the sign-in has ended. `missed` says whether something may have been told while the page was not yet, or not, there.
 */
export function listen(heard, there, ended) {
    listeners.add({ heard, there, ended });
    if (!socket) connect();
    else if (ready) there(true, missed);
}

/** Whether the message could be sent; nothing is kept for later. */
export function say(message) {
    if (ready) socket.send(JSON.stringify(message));
    return ready;
}

function connect() {
    socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/events/`);
    socket.addEventListener("message", (event) => hear(JSON.parse(event.data)));
    socket.addEventListener("close", ({ code }) => closed(code));
}

function hear(message) {
    if (message.type !== "ready") return tellAll("heard", message);
    ready = true;
    wait = FIRST_WAIT;
    // On a new page only what was told since it was asked for counts.
    missed = before || (message.quiet !== null && message.quiet * 1000 < performance.now() + SLACK);
    before = true;
    tellAll("there", true, missed);
}

function closed(code) {
    ready = false;
    if (code === SIGN_IN) return tellAll("ended");
    tellAll("there", false);
    setTimeout(connect, wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, LONGEST_WAIT);
}
