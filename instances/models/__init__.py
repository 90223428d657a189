from instances.models.carriage import Carriage
from instances.models.catalogue import (
    JUPYTER,
    Extending,
    Flavour,
    FlavourLimit,
    Image,
    ImageApp,
    ImageProtocol,
    Plan,
    Protocol,
    Visibility,
)
from instances.models.hosts import Host, PlacementPolicy, Stray
from instances.models.instance import (
    IllegalTransition,
    Instance,
    Member,
    MemberChange,
    MemberRole,
    Step,
    Superseded,
    Thumbnail,
    Transition,
)
from instances.models.kernels import Kernel
from instances.models.letters import Letter, MailGroup, NoMail
from instances.models.life import Entry, Extension, LifePolicy, TimeLimit
from instances.models.notices import Notice
from instances.models.relocations import Relocation

__all__ = [
    "JUPYTER",
    "Carriage",
    "Entry",
    "Extending",
    "Extension",
    "Flavour",
    "FlavourLimit",
    "Host",
    "IllegalTransition",
    "Image",
    "ImageApp",
    "ImageProtocol",
    "Instance",
    "Kernel",
    "Letter",
    "LifePolicy",
    "MailGroup",
    "Member",
    "MemberChange",
    "MemberRole",
    "NoMail",
    "Notice",
    "PlacementPolicy",
    "Plan",
    "Protocol",
    "Relocation",
    "Step",
    "Stray",
    "Superseded",
    "Thumbnail",
    "TimeLimit",
    "Transition",
    "Visibility",
]
