// Keys that browsers keep for themselves, sent by name.

const SYMBOLS = { ControlLeft: 0xffe3, AltLeft: 0xffe9, MetaLeft: 0xffeb, Delete: 0xffff, Tab: 0xff09, Escape: 0xff1b, PrintScreen: 0xff61, F1: 0xffbe, F4: 0xffc1, F11: 0xffc8, KeyT: 0x74, KeyW: 0x77 };

export function offerKeys(link) {
    for (const button of document.querySelectorAll("[data-keys]")) {
        button.addEventListener("click", () => {
            const codes = button.dataset.keys.split(" ");
            codes.forEach((code) => link.rfb?.sendKey(SYMBOLS[code], code, true));
            codes.reverse().forEach((code) => link.rfb?.sendKey(SYMBOLS[code], code, false));
            document.getElementById("keys").hidePopover();
            link.rfb?.focus();
        });
    }
}

const BACKSPACE = 0xff08, ENTER = 0xff0d;

/** The keysym of a character: itself in Latin-1, else its code point with the Unicode mark (keysymdef.h). */
const symbolOf = (letter) => {
    const point = letter.codePointAt(0);
    if (letter === "\n") return ENTER;
    return point < 0x100 ? point : 0x01000000 + point;
};

/** A touch screen has no keys: what its own keyboard writes into a hidden box is sent letter by letter. */
export function offerTyping(link) {
    const box = document.getElementById("typed");
    const FILLED = " "; // something to delete, so that the backspace key is noticed
    const empty = () => {
        box.value = FILLED;
        box.setSelectionRange(1, 1);
    };
    const press = (symbol) => link.rfb?.sendKey(symbol, null);
    document.getElementById("type").addEventListener("click", () => {
        empty();
        box.focus();
    });
    box.addEventListener("input", (event) => {
        if (event.isComposing) return;
        if (box.value.length < FILLED.length) press(BACKSPACE);
        else [...box.value.slice(FILLED.length)].forEach((letter) => press(symbolOf(letter)));
        empty();
    });
    box.addEventListener("compositionend", () => box.dispatchEvent(new InputEvent("input")));
}
