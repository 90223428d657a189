from instances.models.catalogue import Flavour, FlavourLimit, Image, ImageProtocol, Plan, Protocol, Visibility
from instances.models.hosts import Host, Stray
from instances.models.instance import (
    IllegalTransition,
    Instance,
    Member,
    MemberRole,
    Step,
    Superseded,
    Thumbnail,
    Transition,
)

__all__ = [
    "Flavour",
    "FlavourLimit",
    "Host",
    "IllegalTransition",
    "Image",
    "ImageProtocol",
    "Instance",
    "Member",
    "MemberRole",
    "Plan",
    "Protocol",
    "Step",
    "Stray",
    "Superseded",
    "Thumbnail",
    "Transition",
    "Visibility",
]
