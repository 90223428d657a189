// The clipboard: by itself where the browser allows it, through a box where not.

const place = (id) => document.getElementById(id);

export function exchange(link, words, toast) {
    const text = place("clip-text");
    let sent = null;
    let allowed = false;

    const send = (value) => {
        if (value === sent || !link.rfb || !link.up) return;
        sent = value;
        link.rfb.clipboardPasteFrom(value);
    };
    const fetchLocal = async () => {
        if (!allowed || !document.hasFocus()) return;
        try {
            const value = await navigator.clipboard.readText();
            if (value) send(value);
        } catch {
            explain(); // the permission was withdrawn meanwhile
        }
    };
    const explain = async () => {
        let state = "denied";
        try {
            state = (await navigator.permissions.query({ name: "clipboard-read" })).state;
        } catch {
            state = "denied"; // this browser knows no such permission
        }
        allowed = state === "granted";
        place("clip-how").textContent = words[allowed ? "automatic" : state === "prompt" ? "askClipboard" : "byHand"];
        place("clip-allow").hidden = state !== "prompt";
    };

    link.addEventListener("clipboard", async (event) => {
        text.value = sent = event.detail.text;
        try {
            await navigator.clipboard.writeText(event.detail.text);
        } catch {
            toast(words.byHand); // the text waits in the box
        }
    });
    link.addEventListener("connect", () => {
        sent = null;
        fetchLocal();
    });
    window.addEventListener("focus", fetchLocal);
    place("clip-allow").addEventListener("click", async () => {
        try {
            send(await navigator.clipboard.readText());
        } finally {
            await explain();
        }
    });
    place("clip-send").addEventListener("click", () => {
        sent = null;
        send(text.value);
        toast(words.sent);
    });
    place("clip-copy").addEventListener("click", () => {
        text.select();
        navigator.clipboard.writeText(text.value);
    });
    explain();
}
