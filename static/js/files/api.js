// What the page asks of the machine's files. Paths are keys: percent-encoded bytes, never decoded here.

export const facts = JSON.parse(document.getElementById("facts").textContent);
export const { words, at } = facts;
const token = () => document.querySelector("[name=csrfmiddlewaretoken]").value;

/** By code, the words of why nothing can be seen now; and of these those that may pass by themselves, after seconds. */
export const SHUT = { 4401: "signedOut", 4403: "withdrawn", 4404: "withdrawn", 4407: "askFirst", 4409: "ownerAway", 4410: "stopped", 4502: "silent" };
export const AGAIN = { silent: 3, ownerAway: 8, stopped: 8, lost: 3 };

/** A refusal that the person is told: `sentence`, and `what` for scripts. `code` says why nothing can be seen now. */
export class Refused extends Error {
    constructor(status, said) {
        super(said.sentence ?? words.failed);
        Object.assign(this, { status, what: said.what, code: said.code });
    }
}

export const address = (place, facts) => `${place}?${new URLSearchParams(facts)}`;

export const ask = async (place, facts, options = {}) => {
    const answer = await fetch(facts ? address(place, facts) : place, {
        redirect: "manual",
        cache: "no-store",
        ...options,
        headers: { "X-CSRFToken": token(), ...options.headers },
    });
    if (answer.type === "opaqueredirect" || answer.status === 401) throw new Refused(401, { code: 4401 });
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
    return answer;
};

export const change = (said) => ask(at.change, null, { method: "POST", body: new URLSearchParams(said) });

export const join = (folder, name) => `${folder === "/" ? "" : folder}/${name}`;
/** The key of a name that somebody typed here. */
export const keyOf = (name) => encodeURIComponent(name).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`);

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
export const size = (bytes) => {
    const power = Math.min(UNITS.length - 1, bytes ? Math.floor(Math.log2(bytes) / 10) : 0);
    const number = bytes / 1024 ** power;
    return `${power && number < 100 ? number.toFixed(1) : Math.round(number)} ${UNITS[power]}`;
};
