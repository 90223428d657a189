from desktops.models.chat import ChatMessage, ChatRead
from desktops.models.connections import FRESH, SEEN_EVERY, Connection, Which
from desktops.models.rooms import ControlAsk, Mode, OwnerAway, Policy, Room
from desktops.models.runs import NotebookRun
from desktops.models.sharing import Invitation, Pass
from desktops.models.support import AccessRequest, HelpRequest

__all__ = [
    "FRESH",
    "SEEN_EVERY",
    "AccessRequest",
    "ChatMessage",
    "ChatRead",
    "Connection",
    "ControlAsk",
    "HelpRequest",
    "Invitation",
    "Mode",
    "NotebookRun",
    "OwnerAway",
    "Pass",
    "Policy",
    "Room",
    "Which",
]
