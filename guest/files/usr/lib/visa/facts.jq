# The machine's facts, made safe: every value is checked or replaced, and comes out as a shell assignment that
# @sh has quoted. A strange value becomes a plain one; it never stops the desktop.

def text: if type == "string" then . elif type == "number" then tostring else "" end;
def plain: text | gsub("[[:cntrl:]]"; " ") | gsub("^ +| +$"; "");
def matching($pattern; $otherwise): text | if test("\\A(?:" + $pattern + ")\\z") then . else $otherwise end;
def whole($low; $high; $otherwise):
    (if type == "string" then (tonumber? // null) else . end)
    | if type == "number" and . == floor and . >= $low and . <= $high then . else $otherwise end;
def name($otherwise):
    text | ascii_downcase | gsub("[^a-z0-9_-]+"; "-") | gsub("^[^a-z_]+|-+$"; "") | .[:32]
    | if . == "" then $otherwise else . end;
def host:
    text | ascii_downcase | gsub("[^a-z0-9-]+"; "-") | gsub("^-+"; "") | .[:63] | gsub("-+$"; "")
    | if . == "" then "visa" else . end;
# A public key of one line, without the options that could bind a command to it.
def keys:
    (if type == "array" then . else [] end) | map(text | gsub("^\\s+|\\s+$"; "")
    | select(test("\\A(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*(?: [^[:cntrl:]]*)?\\z"))) | join("\n");
def assignment($key; $value): "\($key)=\($value | tostring | @sh)";

(if type == "object" then . else error("not an object") end) as $given
| ($given.screen | if type == "object" then . else {} end) as $screen
| [
    assignment("hostname"; $given.hostname | host),
    assignment("account"; $given.account | name("visa")),
    assignment("full_name"; $given.full_name | plain | gsub("[:,=\\\\]+"; " ") | .[:200]),
    assignment("uid"; $given.uid | whole(500; 4294967293; "")),
    assignment("gid"; $given.gid | whole(100; 4294967293; "")),
    assignment("width"; $screen.width | whole(320; 8192; 1280)),
    assignment("height"; $screen.height | whole(240; 8192; 800)),
    assignment("keyboard"; $given.keyboard | matching("[a-z]{2,16}(\\([A-Za-z0-9_-]{1,32}\\))?"; "us")),
    assignment("timezone"; $given.timezone | matching("[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}"; "Etc/UTC")),
    assignment("language"; $given.language | text | if .[:2] == "fr" then "fr" else "en" end),
    assignment("vnc_password"; $given.vnc_password | text | gsub("[[:cntrl:]]"; "") | .[:8]),
    assignment("jupyter_token"; $given.jupyter_token | matching("[A-Za-z0-9_.~-]{8,256}"; "")),
    assignment("ssh_keys"; $given.ssh_keys | keys),
    assignment("ssh_authority"; $given.ssh_authority | matching("ssh-ed25519 [A-Za-z0-9+/]+=*"; "")),
    assignment("ssh_host_key"; $given.ssh_host_key | text | gsub("\\s+\\z"; "") | matching(
        "-----BEGIN OPENSSH PRIVATE KEY-----\n(?:[A-Za-z0-9+/=]+\n)+-----END OPENSSH PRIVATE KEY-----"; "")),
    assignment("boot_commands"; $given.boot_commands | text | gsub("\u0000|\r"; ""))
] | .[]
