"""The sentences of the desktop's page, in the reader's language, for its scripts."""

from django.utils.translation import gettext as _


def words() -> dict[str, str]:
    return {
        "connecting": _("Connecting to the machine…"),
        "lost": _("The connection is gone. Your programs go on running; the picture comes back by itself."),
        "silent": _("The machine did not answer. Trying again…"),
        "offline": _("Your computer has no network. The picture comes back when it has."),
        "signedOut": _("Your sign-in has ended. Sign in again; your programs go on running."),
        "withdrawn": _("You may no longer see this desktop. Ask its owner if you still need it."),
        "notFound": _("There is no such desktop, or it is not shared with you."),
        "ownerAway": _("The owner is away. The desktop opens when they are back."),
        "stopped": _("The machine has stopped. Start it from its page; the desktop then opens here."),
        "waiting": _("The machine is not ready yet: %s. The desktop opens here by itself."),
        "notRunning": _("The machine is not running: %s. Start it from its page; the desktop then opens here."),
        "noConsole": _("The machine's own screen is not there at the moment. Trying again…"),
        "attempt": _("Next attempt in %s s."),
        "signIn": _("Sign in"),
        "machinePage": _("To the machine"),
        "home": _("All machines"),
        "now": _("Try now"),
        "watch": _("Watch it start"),
        "connected": _("Connected"),
        "shot": _("Picture saved."),
        "copied": _("Copied from the machine."),
        "sent": _("Sent to the machine. Paste it there."),
        "automatic": _("Copy and paste work by themselves in both directions."),
        "byHand": _("This browser asks you to copy and paste through this box."),
        "askFirst": _("Allow the clipboard, and copy and paste work by themselves."),
        "noFullScreen": _("This browser does not allow full screen."),
        "rescue": _("This is the machine's own screen, as if you sat in front of it."),
        "good": _("Good connection"),
        "fair": _("Slow connection"),
        "poor": _("Poor connection"),
    }
