"""The rules as a CrossGuard policy pack: what the engine's analyzer protocol wants, and no rule."""

from __future__ import annotations

import os
import time
from threading import Thread

from mutx_infra.stacks.policy.rules import RESOURCE_RULES, STACK_RULES, Resource, ResourceRule, StackRule
from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

NAME = "mutx-infra"
_LOOK_EVERY_S = 0.5


def end_with(parent: int) -> None:
    """End this process soon after its parent is gone: an engine that is killed cannot tell its analyzers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY_S)
        os._exit(1)

    Thread(target=watch, name="watch", daemon=True).start()


def make_pack() -> PolicyPack:
    """Make the pack and serve it to the engine that started this process; every rule is mandatory."""
    return PolicyPack(
        name=NAME,
        description="What every stack of mutx-infra must keep to",
        enforcement_level=EnforcementLevel.MANDATORY,
        policies=[*map(_resource_policy, RESOURCE_RULES), *map(_stack_policy, STACK_RULES)],
    )


def _resource_policy(rule: ResourceRule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for problem in rule.check(Resource(args.resource_type, args.name, args.urn, args.props)):
            report(_message(args.name, problem, rule.remedy), None)

    return ResourceValidationPolicy(
        name=rule.name, description=rule.claim, remediation_steps=rule.remedy, validate=validate
    )


def _stack_policy(rule: StackRule) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for resource, problem in rule.check([_resource(found) for found in args.resources]):
            report(_message(resource.name, problem, rule.remedy), resource.urn)

    return StackValidationPolicy(
        name=rule.name, description=rule.claim, remediation_steps=rule.remedy, validate=validate
    )


def _resource(found: PolicyResource) -> Resource:
    uses = {name: frozenset(used.urn for used in all_) for name, all_ in found.property_dependencies.items()}
    return Resource(found.resource_type, found.name, found.urn, found.props, uses)


def _message(name: str, problem: str, remedy: str) -> str:
    return f"{name}: {problem}; {remedy}"
