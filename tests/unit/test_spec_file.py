from __future__ import annotations

import json
import os
from ipaddress import IPv4Network
from pathlib import Path

import jsonschema
import pytest
import yaml

from mutx_infra.adapters.spec_errors import slug
from mutx_infra.adapters.spec_file import LoadedSpec, load_plan, load_spec, spec_skeleton, tenant_schema
from mutx_infra.byok import TransitSeal
from mutx_infra.errors import RefusedError, SpecError
from mutx_infra.guardrail import Family, Judge, Provider
from mutx_infra.plan import make_plan
from mutx_infra.tenant import TENANT_TIERS, Tier
from tests.support.specs import a_plan, a_spec, an_allocation

CHECKOUT = Path(__file__).parents[2]
MINIMAL = "id: acme\nregion: eu-west-1\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "acme.yaml"


def _load(path: Path, text: str | bytes) -> LoadedSpec:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_spec(path)


def _refusal(path: Path, text: str | bytes) -> SpecError:
    with pytest.raises(SpecError) as refused:
        _load(path, text)
    return refused.value


class TestReading:
    def test_a_character_in_two_escapes_is_one(self, tmp_path: Path) -> None:
        path = tmp_path / "acme.yaml"
        path.write_text(json.dumps({"id": "acme", "region": "eu-west-1", "name": "Acme 🦊"}))

        assert load_spec(path).spec.name == "Acme 🦊"

    def test_two_lines_are_enough(self, path: Path) -> None:
        assert _load(path, MINIMAL).spec == a_spec()

    def test_everything_that_can_be_said_is_understood(self, path: Path) -> None:
        text = """\
            # a comment
            id: acme
            region: eu-west-1
            tier: standard
            name: Zürich 北京
            account: "012345678901"
            zones: [eu-west-1a, eu-west-1b]
            cidr: 10.0.4.0/22
            tags:
              cost-center: "4711"
            contacts:
            - email: ops@example.com
              role: security
            """

        spec = _load(path, "\n".join(line.removeprefix(" " * 12) for line in text.splitlines())).spec

        assert spec == a_spec(
            tier="standard",
            name="Zürich 北京",
            account="012345678901",
            zones=["eu-west-1a", "eu-west-1b"],
            cidr="10.0.4.0/22",
            tags={"cost-center": "4711"},
            contacts=[{"email": "ops@example.com", "role": "security"}],
        )

    @pytest.mark.parametrize(
        "word", ["no", "off", "y", "012345678901", "1_000", "0x1f", "0o17", "1:30", "2026-01-02", "1e999"]
    )
    def test_what_yaml_1_1_would_turn_into_something_else_stays_text(self, path: Path, word: str) -> None:
        assert _load(path, f"{MINIMAL}tags:\n  key: {word}\n  {word}: x\n").spec.tags == {
            "key": word,
            word: "x",
        }

    @pytest.mark.parametrize("word", ["true", "null", "~", "12", "-1", "1.5", "1e3"])
    def test_what_yaml_1_2_types_is_not_text(self, path: Path, word: str) -> None:
        assert _refusal(path, f"{MINIMAL}tags:\n  key: {word}\n").code == "spec-tags-string-type"

    @pytest.mark.parametrize(
        "text", [f"\ufeff{MINIMAL}", MINIMAL.replace("\n", "\r\n"), f"---\n{MINIMAL}...\n", MINIMAL[:-1]]
    )
    def test_byte_order_marks_line_ends_and_document_marks_do_no_harm(self, path: Path, text: str) -> None:
        assert _load(path, text).spec == a_spec()

    @pytest.mark.parametrize("name", ["acme.yaml", "globex.yaml"])
    def test_the_examples_are_valid_by_us_and_by_the_schema(self, name: str) -> None:
        path = CHECKOUT / "tenants" / name

        loaded = load_spec(path)

        assert loaded.spec.id == path.stem
        jsonschema.validate(yaml.safe_load(path.read_text()), tenant_schema())


def _deep(levels: int) -> str:
    return f"{MINIMAL}tags:\n  k: {'[' * levels}{']' * levels}\n"


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
)

HOSTILE: dict[str, tuple[str | bytes, str, int]] = {
    "alias bomb": (BOMB, "spec-yaml-alias", 1),
    "anchor": ("id: &x acme\n", "spec-yaml-alias", 1),
    "alias": ("id: acme\nregion: *x\n", "spec-yaml-alias", 2),
    "merge key": ("id: acme\n<<: {region: eu-west-1}\n", "spec-yaml-alias", 2),
    "deep": (_deep(40), "spec-yaml-nesting", 4),
    "very deep": (_deep(30_000), "spec-yaml-nesting", 4),
    "deep mappings": ("a: " + "{b: " * 200 + "}" * 200, "spec-yaml-nesting", 1),
    "large": (MINIMAL + "#" * 70_000, "spec-yaml-size", 1),
    "duplicate": ("id: acme\nregion: eu-west-1\nid: globex\n", "spec-yaml-duplicate", 3),
    "duplicate in other quotes": (f"{MINIMAL}tags:\n  a: x\n  'a': y\n", "spec-yaml-duplicate", 5),
    "duplicate by escape": (f'{MINIMAL}tags:\n  a: x\n  "\\x61": y\n', "spec-yaml-duplicate", 5),
    "python tag": ("id: !!python/object/apply:os.system [true]\n", "spec-yaml-tag", 1),
    "standard tag": ("id: acme\nregion: !!str eu-west-1\n", "spec-yaml-tag", 2),
    "own tag": ("!tenant\nid: acme\n", "spec-yaml-tag", 1),
    "two documents": ("---\nid: acme\n---\nid: globex\n", "spec-yaml-documents", 4),
    "list": ("- id: acme\n", "spec-yaml-mapping", 1),
    "text": ("acme\n", "spec-yaml-mapping", 1),
    "complex key": ("? [a, b]\n: c\n", "spec-yaml-mapping", 1),
    "nothing": ("", "spec-yaml-empty", 1),
    "comments only": ("# nothing\n\n", "spec-yaml-empty", 1),
    "null": ("---\n~\n", "spec-yaml-empty", 1),
    "latin 1": ("id: acme\nname: Zürich\n".encode("latin-1"), "spec-yaml-encoding", 2),
    "utf 16": (MINIMAL.encode("utf-16"), "spec-yaml-encoding", 1),
    "tab": ("id: acme\n\tregion: eu-west-1\n", "spec-yaml-character", 2),
    "tab after the value": ("id: acme\t\n", "spec-yaml-character", 1),
    "nul": ("id: acme\nname: a\0b\n", "spec-yaml-character", 2),
    "escape": ("id: acme\nname: \x1b[2J\n", "spec-yaml-character", 2),
    "lone carriage return": ("id: acme\rregion: eu-west-1\n", "spec-yaml-character", 1),
    "unicode line end": ("id: acme\nname: a\u2028tier: b\n", "spec-yaml-character", 2),
    "mark in the middle": ("id: acme\nname: a\ufeff\n", "spec-yaml-character", 2),
    "noncharacter": ("id: acme\nname: a\uffff\n", "spec-yaml-character", 2),
    "unclosed": ("id: acme\nzones: [eu-west-1a\n", "spec-yaml", 3),
    "colon in a value": ("id: acme\nname: Acme: Robotics\n", "spec-yaml", 2),
    "directive": ("%YAML 9.9\n---\nid: acme\n", "spec-yaml", 1),
    "endless number": (f"{MINIMAL}account: {'9' * 10_000}\n", "spec-account-string-pattern-mismatch", 3),
    "infinity": (f"{MINIMAL}account: .inf\n", "spec-account-string-pattern-mismatch", 3),
    "lone surrogate": (f'{MINIMAL}name: "\\ud800"\n', "spec-yaml-character", 3),
    "bidi override": (f"{MINIMAL}name: a\u202eb\n", "spec-name-value-error", 3),
}


class TestHostileFiles:
    @pytest.mark.parametrize(("text", "code", "line"), HOSTILE.values(), ids=HOSTILE)
    def test_it_is_refused_with_file_line_and_remedy(
        self, path: Path, text: str | bytes, code: str, line: int
    ) -> None:
        error = _refusal(path, text)

        assert error.code == code
        assert error.detail.splitlines()[0] == f"in {path}, line {line}"
        assert error.remedy
        assert len(error.message) < 300

    def test_a_missing_file_says_how_to_make_one(self, path: Path) -> None:
        with pytest.raises(SpecError) as refused:
            load_spec(path)

        assert refused.value.code == "spec-not-found"
        assert "spec init" in refused.value.remedy

    def test_a_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="is a directory") as refused:
            load_spec(tmp_path)

        assert refused.value.code == "spec-unreadable"

    def test_a_pipe_is_refused_and_not_waited_for(self, path: Path) -> None:
        os.mkfifo(path)

        with pytest.raises(SpecError, match="pipe"):
            load_spec(path)

    def test_a_file_below_a_file_is_missing(self, path: Path) -> None:
        path.touch()

        with pytest.raises(SpecError, match="does not exist"):
            load_spec(path / "x.yaml")

    def test_an_unreadable_file_is_refused(self, path: Path) -> None:
        path.symlink_to(path)

        with pytest.raises(SpecError) as refused:
            load_spec(path)

        assert refused.value.code == "spec-unreadable"

    def test_a_lock_file_is_no_spec_and_the_spec_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError) as refused:
            load_spec(tmp_path / "acme.lock.yaml")

        assert (refused.value.code, refused.value.remedy) == (
            "spec-is-lock",
            "name the spec beside it: acme.yaml",
        )


class TestRemedies:
    @pytest.mark.parametrize(
        ("line", "remedy"),
        [
            ("reigon: eu-west-1", "did you mean `region`?"),
            ("Tier: starter", "did you mean `tier`?"),
            ("colour: red", "use one of id, region"),
            ("tier: standart", "did you mean `standard`?"),
            ("tier: STARTER", "did you mean `starter`?"),
            ("tier: gold", "use one of starter, standard, dedicated"),
            ("account: 123456789012", 'account: "123456789012"'),
            ("account: 1234-5678-9012", 'account: "123456789012"'),
            ("cidr: 10.0.1.5/24", "cidr: 10.0.1.0/24"),
            ("cidr: 8.8.8.0/24", "private block"),
            ("cidr: fd00::/64", "IPv4"),
            ("contacts: [{email: a@b.c, rol: billing}]", "did you mean `role`?"),
            ("contacts: [{email: a@b.c, role: biling}]", "did you mean `billing`?"),
        ],
    )
    def test_a_remedy_says_what_to_write(self, path: Path, line: str, remedy: str) -> None:
        assert remedy in _refusal(path, f"{MINIMAL}{line}\n").remedy

    def test_a_zone_for_a_region_is_recognised(self, path: Path) -> None:
        assert "`region: eu-west-1`" in _refusal(path, "id: acme\nregion: eu-west-1a\n").remedy

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("Zürich GmbH", "zurich-gmbh"),
            ("  Straße & Söhne ", "strasse-sohne"),
            ("ACME_Corp.", "acme-corp"),
            ("3M", "t-3m"),
            ("Łódź", "lodz"),
            ("北京", ""),
            ("x" * 80, "x" * 63),
            ("a", ""),
        ],
    )
    def test_the_nearest_id_is_valid(self, name: str, expected: str) -> None:
        assert slug(name) == expected
        assert not expected or a_spec(expected).id == expected

    def test_the_nearest_id_is_suggested(self, path: Path) -> None:
        assert "`id: zurich-gmbh`" in _refusal(path, "id: Zürich GmbH\nregion: eu-west-1\n").remedy

    def test_all_errors_are_reported_in_the_order_of_the_file(self, path: Path) -> None:
        error = _refusal(path, "region: eu-west-1\ntier: gold\nid: A\ncolour: red\n")

        assert error.message.startswith("`tier`")
        first, *others = error.detail.splitlines()
        assert first == f"in {path}, line 2"
        assert [line.partition("`")[2].partition("`")[0] for line in others] == ["id", "colour"]


class TestSpecRules:
    @pytest.mark.parametrize(
        "tags", [{"Name": "x"}, {"mutx:tenant": "x"}, {"AWS:x": "y"}, {"Team": "a", "team": "b"}]
    )
    def test_tags_that_aws_or_the_toolkit_own_or_confuse_are_refused(
        self, path: Path, tags: dict[str, str]
    ) -> None:
        assert _refusal(path, f"{MINIMAL}tags: {json.dumps(tags)}\n").code == "spec-tags-value-error"

    @pytest.mark.parametrize("zones", [["eu-west-1a", "eu-west-1a"], ["eu-west-2a"], ["us-east-1-bos-1a"]])
    def test_zones_are_distinct_and_of_the_region(self, path: Path, zones: list[str]) -> None:
        assert _refusal(path, f"{MINIMAL}zones: {json.dumps(zones)}\n").code.startswith("spec-zones-")

    def test_a_block_must_hold_the_zones(self, path: Path) -> None:
        assert "at least a /23" in _refusal(path, f"{MINIMAL}tier: dedicated\ncidr: 10.0.0.0/24\n").message

    def test_text_is_kept_in_one_spelling(self, path: Path) -> None:
        assert _load(path, f"{MINIMAL}name: Zu\u0308rich\n").spec.name == "Zürich"


class TestLockFile:
    def _write(self, path: Path) -> LoadedSpec:
        loaded = _load(path, MINIMAL)
        loaded.files.lock(an_allocation(), loaded.spec, a_plan().digest)
        return loaded

    def test_without_a_lock_file_there_is_no_allocation(self, path: Path) -> None:
        assert _load(path, MINIMAL).files.locked() is None

    def test_an_allocation_is_read_back_as_it_was_written(self, path: Path) -> None:
        assert self._write(path).files.locked() == an_allocation()

    def test_it_says_who_wrote_it_and_that_it_is_committed(self, path: Path) -> None:
        self._write(path)

        text = path.with_name("acme.lock.yaml").read_text(encoding="utf-8")

        assert text.startswith("# Written by mutx-infra; commit it.")
        assert yaml.safe_load(text) == {
            "version": 1,
            "tenant": "acme",
            "account": "123456789012",
            "region": "eu-west-1",
            "block": "10.0.1.0/24",
            "zones": ["eu-west-1a"],
            "plan": a_plan().digest,
        }

    def test_unchanged_content_is_not_written_again(self, path: Path) -> None:
        loaded = self._write(path)
        before = loaded.files.lock_path.stat()

        loaded.files.lock(an_allocation(), loaded.spec, a_plan().digest)

        after = loaded.files.lock_path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_changed_content_replaces_the_file_and_leaves_nothing_beside_it(self, path: Path) -> None:
        loaded = self._write(path)
        before = loaded.files.lock_path.stat().st_ino

        loaded.files.lock(an_allocation(block="10.0.2.0/24"), loaded.spec, a_plan().digest)

        assert loaded.files.lock_path.stat().st_ino != before
        assert sorted(p.name for p in path.parent.iterdir()) == ["acme.lock.yaml", "acme.yaml"]

    def test_a_lock_file_that_cannot_be_written_is_refused_and_leaves_nothing(self, path: Path) -> None:
        loaded = _load(path, MINIMAL)
        loaded.files.lock_path.mkdir()

        with pytest.raises(RefusedError) as refused:
            loaded.files.lock(an_allocation(), loaded.spec, a_plan().digest)

        assert refused.value.code == "lock-unwritable"
        assert sorted(p.name for p in path.parent.iterdir()) == ["acme.lock.yaml", "acme.yaml"]

    @pytest.mark.parametrize(
        ("old", "new", "code", "line"),
        [
            ("tenant: ", "tenant: globex #", "lock-foreign", 3),
            ("version: 1", "version: 2", "lock-too-new", 2),
            ("version: 1", "version: x", "lock-broken", 2),
            ("block: ", "block: 10.0.1.5/24 #", "lock-broken", 6),
            ("account: ", "account: 17 #", "lock-broken", 4),
            ("zones: ", "zones: [] #", "lock-broken", 7),
            ("plan: ", "plan: x #", "lock-broken", 8),
            ("region: ", "regions: ", "lock-broken", 2),
            ("block: ", "<<<<<<< ours\nblock: ", "spec-yaml", 7),
        ],
        ids=["foreign", "newer", "version", "block", "account", "zones", "plan", "field", "merge conflict"],
    )
    def test_a_damaged_lock_file_is_refused_with_file_line_and_remedy(
        self, path: Path, old: str, new: str, code: str, line: int
    ) -> None:
        loaded = self._write(path)
        lock = loaded.files.lock_path
        lock.write_text(lock.read_text().replace(old, new, 1))

        with pytest.raises(SpecError) as refused:
            loaded.files.locked()

        assert refused.value.code == code
        assert refused.value.detail == f"in {lock}, line {line}"
        assert refused.value.remedy

    def test_blocks_of_other_lock_files_are_seen_and_broken_ones_passed_over(self, path: Path) -> None:
        loaded = self._write(path)
        other = path.with_name("globex.lock.yaml")
        other.write_text(
            loaded.files.lock_path.read_text().replace("acme", "globex").replace("10.0.1.0", "10.0.2.0")
        )
        path.with_name("broken.lock.yaml").write_text("[")

        assert loaded.files.blocks_beside() == (IPv4Network("10.0.2.0/24"),)

    def test_a_dangling_link_is_not_taken_for_no_lock_file(self, path: Path) -> None:
        loaded = _load(path, MINIMAL)
        loaded.files.lock_path.symlink_to("nowhere")

        with pytest.raises(SpecError):
            loaded.files.locked()


class TestLoadPlan:
    def test_spec_and_lock_file_give_the_plan_that_was_accepted(self, path: Path) -> None:
        loaded = _load(path, f"{MINIMAL}tags: {{team: x}}\n")
        plan = make_plan(loaded.spec, an_allocation())
        loaded.files.lock(an_allocation(), loaded.spec, plan.digest)

        assert load_plan(path) == plan

    def test_without_a_lock_file_it_says_which_command_makes_one(self, path: Path) -> None:
        path.write_text(MINIMAL)

        with pytest.raises(SpecError) as refused:
            load_plan(path)

        assert refused.value.code == "lock-missing"
        assert f"mutx-infra tenant create -f {path}" in refused.value.remedy

    def test_a_field_that_contradicts_the_lock_file_is_named_with_its_line(self, path: Path) -> None:
        loaded = _load(path, MINIMAL)
        loaded.files.lock(an_allocation(), loaded.spec, a_plan().digest)
        path.write_text(f"{MINIMAL}# moved\ncidr: 10.0.9.0/24\n")

        with pytest.raises(SpecError) as refused:
            load_plan(path)

        assert refused.value.code == "spec-cidr-fixed"
        assert refused.value.detail == f"in {path}, line 4"


class TestSkeletonAndSchema:
    @pytest.mark.parametrize("tier", TENANT_TIERS)
    def test_a_skeleton_is_a_valid_spec(self, path: Path, tier: Tier) -> None:
        spec = _load(path, spec_skeleton("acme", "eu-west-1", tier)).spec

        assert spec == a_spec(tier=str(tier))

    @pytest.mark.parametrize(
        ("tenant", "tier", "left_out"),
        [("acme", Tier.STARTER, {"archive"}), ("platform", Tier.PLATFORM, {"byok", "guardrail"})],
        ids=["tenant", "platform"],
    )
    def test_a_skeleton_names_every_field_that_the_spec_may_have_and_the_schema(
        self, tenant: str, tier: Tier, left_out: set[str]
    ) -> None:
        text = spec_skeleton(tenant, "eu-west-1", tier)

        named = {field for field in tenant_schema()["properties"] if f"{field}:" in text}
        assert text.startswith("# yaml-language-server: $schema=tenant.schema.json\n")
        assert named == set(tenant_schema()["properties"]) - left_out

    def test_what_a_tenant_brings_is_valid_once_it_is_uncommented_and_has_the_tenant_s_certificate(
        self, path: Path
    ) -> None:
        lines = spec_skeleton("acme", "eu-west-1", Tier.STARTER).splitlines()
        begin = lines.index(next(line for line in lines if line.startswith("# byok:")))
        uncommented = [line.removeprefix("# ").replace("…", "MAoCAQECAQECAQE=") for line in lines[begin:]]

        spec = _load(path, "\n".join([*lines[:begin], *uncommented, ""])).spec

        assert spec.byok is not None
        assert spec.byok.admin_ca.startswith("-----BEGIN CERTIFICATE-----\nMAoC")
        assert isinstance(spec.byok.seal, TransitSeal)

    def test_what_a_skeleton_suggests_is_valid_when_it_is_uncommented(self, path: Path) -> None:
        lines = spec_skeleton("platform", "eu-west-1", Tier.PLATFORM).splitlines()
        uncommented = [
            line.removeprefix("# ") if ":" in line and number > 2 else line
            for number, line in enumerate(lines)
        ]

        spec = _load(path, "\n".join(uncommented)).spec

        assert spec.model_fields_set == set(tenant_schema()["properties"]) - {"byok", "guardrail"}

    def test_what_a_skeleton_says_of_the_guardrail_is_valid_when_it_is_uncommented(self, path: Path) -> None:
        lines = spec_skeleton("acme", "eu-west-1", Tier.STARTER).splitlines()
        begin, end = (
            lines.index(next(x for x in lines if x.startswith(f"# {f}:"))) for f in ("guardrail", "byok")
        )
        uncommented = [line.removeprefix("# ") for line in lines[begin:end]]

        spec = _load(path, "\n".join([*lines[:begin], *uncommented, ""])).spec

        assert spec.guardrail is not None
        assert spec.guardrail.providers == (Provider.OPENAI,)
        assert spec.guardrail.judge == Judge(model="Qwen/Qwen3Guard-Gen-4B", family=Family.QWEN3GUARD)

    @pytest.mark.parametrize("tenant", ["x: y", "a\nb: c", "{{ 7 * 7 }}", "# x", "Zürich", '"x"', "on"])
    def test_a_name_never_becomes_yaml_or_a_template(self, tenant: str) -> None:
        text = spec_skeleton(tenant, "eu-west-1", Tier.STARTER)

        assert yaml.load(text, Loader=yaml.BaseLoader)["id"] == tenant  # noqa: S506 - loads text only

    def test_the_committed_schema_is_what_the_models_say(self) -> None:
        committed = (CHECKOUT / "tenants" / "tenant.schema.json").read_text(encoding="utf-8")

        assert committed == json.dumps(tenant_schema(), indent=2, sort_keys=True) + "\n"

    def test_the_schema_is_a_schema_of_2020_12_that_admits_no_other_fields(self) -> None:
        schema = tenant_schema()

        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == "https://mutx.dev/schemas/tenant.json"
        assert schema["additionalProperties"] is False
        assert schema["$defs"]["Contact"]["additionalProperties"] is False
