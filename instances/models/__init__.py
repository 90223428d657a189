from instances.models.catalogue import Flavour, FlavourLimit, Image, ImageProtocol, Plan, Protocol, Visibility
from instances.models.hosts import Host, Stray
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
from instances.models.notices import Notice

__all__ = [
    "Flavour",
    "FlavourLimit",
    "Host",
    "IllegalTransition",
    "Image",
    "ImageProtocol",
    "Instance",
    "Member",
    "MemberChange",
    "MemberRole",
    "Notice",
    "Plan",
    "Protocol",
    "Step",
    "Stray",
    "Superseded",
    "Thumbnail",
    "Transition",
    "Visibility",
]
