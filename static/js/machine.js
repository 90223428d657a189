// While a machine is made: its boot screen as a small live picture, and its desktop when that is ready.

const RETRY = 2000;
const progress = () => document.getElementById("progress");
const waitedFor = "making" in progress().dataset;
let screen = null;
let opening = false;

// The person is still there: open the desktop in place of this page's wait. Once: a second word would break off the first.
const openWhenReady = () => {
    const { ready } = progress().dataset;
    if (opening || !waitedFor || !ready || document.visibilityState !== "visible") return;
    opening = true;
    location.assign(ready);
};
document.addEventListener("htmx:afterSettle", openWhenReady);
document.addEventListener("visibilitychange", openWhenReady);

// The boot screen, as soon as the machine has one; the library is fetched only then
async function watch() {
    const place = document.getElementById("console");
    const path = progress().dataset.console;
    if (screen || !path) return;
    screen = "loading";
    const { default: RFB } = await import("../vendor/novnc/core/rfb.js");
    const address = `${location.protocol.replace("http", "ws")}//${location.host}${path}`;
    screen = new RFB(place, address, { wsProtocols: ["binary"] });
    Object.assign(screen, { viewOnly: true, scaleViewport: true, focusOnClick: false, background: "#000" });
    screen.addEventListener("connect", () => (place.hidden = false));
    screen.addEventListener("disconnect", () => {
        place.hidden = true;
        place.replaceChildren();
        screen = null;
        setTimeout(watch, RETRY);
    });
}
document.addEventListener("htmx:afterSettle", watch);
watch();
