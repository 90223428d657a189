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
