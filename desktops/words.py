"""The sentences of the desktop's page, in the reader's language, for its scripts."""

from django.utils.translation import gettext as _


def words() -> dict[str, str]:
    """Of the machine's screen, and of being there together."""
    return _screen() | _people() | _control() | _asking() | chat_words()


def _screen() -> dict[str, str]:
    return {
        "connecting": _("Connecting to the machine…"),
        "lost": _("The connection is gone. Your programs go on running; the picture comes back by itself."),
        "silent": _("The machine did not answer. Trying again…"),
        "tooMany": _("You have too many screens open. Close one, and this one opens by itself."),
        "offline": _("Your computer has no network. The picture comes back when it has."),
        "signedOut": _("Your sign-in has ended. Sign in again; your programs go on running."),
        "withdrawn": _("You may no longer see this desktop. Ask its owner if you still need it."),
        "notFound": _("There is no such desktop, or it is not shared with you."),
        "ownerAway": _("The owner is away. The desktop opens when they are back."),
        "stopped": _("The machine has stopped. Start it from its page; the desktop then opens here."),
        "askFirst": _("This desktop opens with its owner's consent."),
        "dismissed": _("The owner closed your screen. You may open it again."),
        "openAgain": _("Open again"),
        "waiting": _("The machine is not ready yet: %s. The desktop opens here by itself."),
        "notRunning": _("The machine is not running: %s. Start it from its page; the desktop then opens here."),
        "noConsole": _("The machine's own screen is not there at the moment. Trying again…"),
        "attempt": _("Next attempt in %s s."),
        "signIn": _("Sign in"),
        "machinePage": _("To the machine"),
        "home": _("All machines"),
        "now": _("Try now"),
        "watch": _("Watch it start"),
        "shot": _("Picture saved."),
        "copied": _("Copied from the machine."),
        "sent": _("Sent to the machine. Paste it there."),
        "automatic": _("Copy and paste work by themselves in both directions."),
        "byHand": _("This browser asks you to copy and paste through this box."),
        "askClipboard": _("Allow the clipboard, and copy and paste work by themselves."),
        "noFullScreen": _("This browser does not allow full screen."),
        "rescue": _("This is the machine's own screen, as if you sat in front of it."),
        "good": _("Good connection"),
        "fair": _("Slow connection"),
        "poor": _("Poor connection"),
    }


def _people() -> dict[str, str]:
    return {
        "people": _("People"),
        "hereNow": _("Here now: %s"),
        "outside": _("Who is here is shown as soon as you are in."),
        "nameYou": _("%s (you)"),
        "owner": _("owner"),
        "user": _("full control"),
        "guest": _("watches"),
        "support": _("support"),
        "supportUntil": _("support until %s"),
        "supporting": _("You are helping here until %s."),
        "hasControl": _("has control"),
        "asksControl": _("asks for control"),
        "actsFor": _("What you can do about %s"),
        "give": _("Give control"),
        "dismiss": _("Close their screen"),
    }


def _control() -> dict[str, str]:
    return {
        "control": _("Control"),
        "free": _("Everyone at once"),
        "baton": _("One at a time"),
        "freeze": _("Freeze everyone"),
        "thaw": _("Let everyone go on"),
        "frozen": _("%s has frozen the desktop. Only they can control it now."),
        "youFroze": _("Everyone is frozen. Only you can control the desktop."),
        "youWatch": _("You are watching."),
        "youAsked": _("You asked for control."),
        "youHaveControl": _("You have control."),
        "someoneHasControl": _("%s has control."),
        "everybodyMay": _("Everyone with full control can use mouse and keyboard."),
        "askControl": _("Ask for control"),
        "withdrawAsk": _("Do not ask any more"),
        "passBack": _("Pass control back"),
        "takeControl": _("Take control"),
        "lock": _("Take no requests for control"),
        "unlock": _("Take requests for control"),
        "settings": _("What others may do"),
        "members_alone": _("Members may work while I am away"),
        "watchers_clipboard": _("Watchers receive what is copied in the machine"),
        "watchers_draw": _("Watchers may point and draw"),
        "draw": _("Point and draw"),
        "pen": _("Draw"),
        "laser": _("Point"),
        "clearOwn": _("Clear my drawing"),
        "clearAll": _("Clear all drawings"),
        "done": _("Done"),
    }


def _asking() -> dict[str, str]:
    return {
        "asksToJoin": _("%s asks to join"),
        "wantsControl": _("Wants to control, for %s minutes"),
        "wantsWatch": _("Wants to watch, for %s minutes"),
        "letInControl": _("Let in with control"),
        "letInWatch": _("Let in to watch"),
        "refuse": _("Refuse"),
        "someoneAsksControl": _("%s asks for control"),
        "notNow": _("Not now"),
        "askHow": _("To answer, press Ctrl+Alt+Shift and then R."),
        "timeLeft": _("%s left to answer"),
        "why": _("Why do you want to join?"),
        "reasonHint": _("The owner reads this before answering."),
        "howLong": _("For how long?"),
        "minutes": _("%s minutes"),
        "toDo": _("To do what?"),
        "toControl": _("Control"),
        "toWatch": _("Watch"),
        "askToJoin": _("Ask to join"),
        "enter": _("Enter"),
        "wasAsked": _("%s was asked. The desktop opens here as soon as you are let in."),
        "wasRefused": _("%s did not let you in this time."),
        "wasNotAnswered": _("%s did not answer in time. You can ask again."),
        "supportEnded": _("Your time on this desktop is over. Ask again if there is more to do."),
        "ownerNotThere": _("%s is not at this desktop now, so an answer may take a while."),
        "mayEnter": _("%s is away. You may come in without asking; they are told that you did, and why."),
        "end": _("End"),
        "helpCalled": _("Help is called. Who comes is shown here."),
        "helpWaits": _("Your local contact was told. Nobody has come yet."),
        "helpAtIt": _("IT support was told. Nobody has come yet."),
        "helpTaken": _("%s is coming to help."),
        "helpDone": _("I need no more help"),
    }


def chat_words() -> dict[str, str]:
    """Of the chat, which also stands on the machine's page."""
    return {
        "chat": _("Chat"),
        "you": _("You"),
        "somebody": _("Somebody who left"),
        "write": _("Write to everyone here"),
        "send": _("Send"),
        "older": _("Show older messages"),
        "newMessages": _("New messages"),
        "noMessages": _("Nobody has written anything yet. Messages stay here for as long as the machine lives."),
        "types": _("%s is typing…"),
        "manyType": _("%s are typing…"),
        "sending": _("Sending…"),
        "waitsForNetwork": _("Waiting for the network. It is sent by itself."),
        "notSent": _("Not sent."),
        "again": _("Try again"),
        "takeBack": _("Take back"),
        "failed": _("That did not work. Check your network and try again."),
        "signedOut": _("Your sign-in has ended. Sign in again; your programs go on running."),
    }


def file_words() -> dict[str, str]:
    """Of the page of a machine's files."""
    return {
        "home": _("Home"),
        "empty": _("This folder is empty."),
        "more": _("Only the first %s are shown."),
        "chosen": _("%s chosen"),
        "choose": _("Choose %s"),
        "signedOut": _("Your sign-in has ended. Sign in again; what has arrived of an upload is kept."),
        "silent": _("The machine's files do not answer yet. Trying again…"),
        "lost": _("The connection is gone. Trying again…"),
        "stopped": _("The machine is not running. Start it from its page; its files then open here."),
        "ownerAway": _("The owner is away. The files open when they are back."),
        "askFirst": _("These files open with the owner's consent. Ask for it on the desktop's page."),
        "withdrawn": _("You may no longer see these files. Ask the machine's owner if you still need them."),
        "closed": _(
            "This machine was made before its files could be seen here. JupyterLab shows them; new machines do."
        ),
        "signIn": _("Sign in"),
        "failed": _("That did not work. Try again."),
        "newFolder": _("Name of the new folder"),
        "newName": _("New name of %s"),
        "moveTo": _("Move %s to the folder"),
        "make": _("Make it"),
        "rename": _("Rename"),
        "move": _("Move"),
        "delete": _("Delete"),
        "keep": _("Keep as it is"),
        "sureOne": _("Delete %s?"),
        "sureMany": _("Delete %s files and folders?"),
        "loss": _("They are deleted at once, folders with everything in them. There is no recycle bin for files."),
        "made": _("%s is there now."),
        "renamed": _("The new name is %s."),
        "moved": _("Moved: %s"),
        "deleted": _("Deleted: %s"),
    } | _uploads()


def _uploads() -> dict[str, str]:
    return {
        "uploading": _("%s of %s"),
        "waits": _("Waiting for the connection…"),
        "arrived": _("Arrived"),
        "there": _("Already there"),
        "exists": _("There is one of that name already."),
        "replace": _("Replace"),
        "skip": _("Leave it out"),
        "cancel": _("Cancel"),
        "cancelled": _("Cancelled"),
        "unreadable": _("It changed on your computer meanwhile. Choose it again."),
        "allDone": _("Everything has arrived."),
        "someFailed": _("Of what was chosen %s did not arrive."),
        "folder": _("folder"),
    }
