// The machine and nothing else.

import { together } from "../room/together.js";
import { Bar } from "./bar.js";
import { Beside } from "./beside.js";
import { exchange } from "./clipboard.js";
import { offerKeys, offerTyping } from "./keys.js";
import { Link } from "./link.js";
import { Meter } from "./meter.js";

const facts = JSON.parse(document.getElementById("facts").textContent);
const { words } = facts;
const place = (id) => document.getElementById(id);
const meter = new Meter();
const link = new Link(place("screen"), facts, meter, () => room.get("room/"));
const backToWork = () => link.rfb?.focus();
const bar = new Bar(backToWork);

const toast = (text) => {
    place("toast").textContent = text;
    place("toast").hidden = false;
    clearTimeout(toast.timer);
    toast.timer = setTimeout(() => (place("toast").hidden = true), 3000);
};

// Trouble: a sentence over the dimmed picture, and what happens next
const offer = (label, href, click) => {
    const button = document.createElement(href ? "a" : "button");
    Object.assign(button, { className: "button primary", textContent: label });
    if (href) button.href = href;
    else button.addEventListener("click", click);
    return button;
};
const offers = ({ what, final, watch, wait }) => {
    if (what === "signedOut") return [offer(words.signIn, facts.signIn)];
    if (what === "dismissed") return [offer(words.openAgain, "", () => location.reload())];
    if (final) return [offer(words.home, facts.home)];
    const acts = [];
    if (watch && facts.console) acts.push(offer(words.watch, "", () => rescue(true)));
    if (what === "notRunning" || what === "stopped") acts.push(offer(words.machinePage, facts.machine));
    else if (wait) acts.push(offer(words.now, "", () => link.now()));
    return acts;
};
let said = "";
link.addEventListener("trouble", ({ detail }) => {
    place("veil").hidden = false;
    const text = words[detail.what].replace("%s", detail.word ?? "");
    if (text !== said) {
        place("veil-text").textContent = said = text;
        place("veil-acts").replaceChildren(...offers(detail));
    }
    const counts = detail.wait >= 2 && detail.what !== "stopped";
    place("veil-next").textContent = counts ? words.attempt.replace("%s", detail.wait) : "";
});
link.addEventListener("down", ({ detail: canvas }) => {
    canvas.toBlob((blob) => {
        URL.revokeObjectURL(place("frozen").src);
        place("frozen").src = URL.createObjectURL(blob);
        place("frozen").hidden = link.up === true;
    }, "image/webp");
});
link.addEventListener("connect", () => {
    said = "";
    place("veil").hidden = place("frozen").hidden = true;
    place("veil-acts").replaceChildren();
    arrange();
    if (document.activeElement === document.body) backToWork(); // who writes in the chat goes on writing
    bar.open();
});

// Size and quality, remembered in this browser
const QUALITY = { sharp: [9, 1], even: [6, 2], slow: [2, 9] };
const BY_GRADE = { good: "sharp", fair: "even", poor: "slow" };
const kept = { mode: localStorage.getItem("visa-mode") ?? "fit", quality: localStorage.getItem("visa-quality") ?? "auto" };
function arrange() {
    const { rfb } = link;
    if (!rfb) return;
    rfb.scaleViewport = kept.mode !== "plain";
    rfb.resizeSession = kept.mode === "adapt" && !link.console;
    tune();
}
function tune() {
    const name = kept.quality === "auto" ? BY_GRADE[meter.grade] : kept.quality;
    const [quality, compression] = QUALITY[name] ?? QUALITY.even;
    if (link.rfb) Object.assign(link.rfb, { qualityLevel: quality, compressionLevel: compression });
}
for (const [group, value] of Object.entries(kept)) {
    for (const radio of document.querySelectorAll(`[name=${group}]`)) {
        radio.checked = radio.value === value;
        radio.addEventListener("change", () => {
            kept[group] = radio.value;
            localStorage.setItem(`visa-${group}`, radio.value);
            arrange();
        });
    }
}

// Full screen, picture, rescue screen, help
place("full").addEventListener("click", async () => {
    try {
        if (document.fullscreenElement) await document.exitFullscreen();
        else await document.documentElement.requestFullscreen();
    } catch {
        toast(words.noFullScreen);
    }
    link.rfb?.focus();
});
place("shot").addEventListener("click", () => {
    document.querySelector("#screen canvas")?.toBlob((blob) => {
        const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
        const save = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${facts.name} ${stamp}.png` });
        save.click();
        setTimeout(() => URL.revokeObjectURL(save.href), 10000);
        toast(words.shot);
    });
});
function rescue(yes) {
    place("rescue").setAttribute("aria-pressed", yes);
    place("screen").classList.toggle("console", yes);
    place("frozen").hidden = true;
    place("veil-text").textContent = words.connecting;
    if (yes) toast(words.rescue);
    link.show(yes);
}
place("rescue")?.addEventListener("click", () => rescue(!link.console));
place("help-open").addEventListener("click", () => place("help").showModal());
place("help-close").addEventListener("click", () => place("help").close());

// The numbers
const bytes = (n) => {
    const unit = n < 1e6 ? ["kilobyte", 1e3] : n < 1e9 ? ["megabyte", 1e6] : ["gigabyte", 1e9];
    return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: unit[0], maximumFractionDigits: 1 }).format(n / unit[1]);
};
setInterval(() => {
    const canvas = document.querySelector("#screen canvas");
    const trip = meter.trip === null ? "–" : `${Math.round(meter.trip)} ms`;
    place("mark-text").textContent = link.up ? trip : "–";
    place("mark").className = `tool wide ${link.up ? meter.grade : "poor"}`;
    place("numbers-word").textContent = words[meter.grade];
    place("n-trip").textContent = trip;
    place("n-frames").textContent = meter.rate;
    place("n-down").textContent = bytes(meter.down);
    place("n-up").textContent = bytes(meter.up);
    place("n-size").textContent = canvas ? `${canvas.width} × ${canvas.height}` : "–";
    if (kept.quality === "auto") tune();
}, 1000);

exchange(link, words, toast);
offerKeys(link);
offerTyping(link);
if (place("beside")) new Beside(backToWork);
const { room, requests } = together(facts, link, meter, backToWork, toast);
place("to-requests").addEventListener("click", () => requests.focus());
link.now();
