from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra.addressing import (
    MAX_ZONES,
    PRIVATE_RANGES,
    BlockError,
    Layer,
    PoolExhaustedError,
    SubnetLayout,
    check_block,
    default_prefix_length,
    first_free_block,
    overlapping,
    smallest_prefix_length,
    split_block,
)

SMALL_POOL = IPv4Network("10.0.0.0/24")


@st.composite
def tenant_blocks(draw: st.DrawFn) -> tuple[IPv4Network, int]:
    """Any block that a tenant may have, with its number of zones."""
    zones = draw(st.integers(1, MAX_ZONES))
    length = draw(st.integers(16, smallest_prefix_length(zones)))
    private = draw(st.sampled_from(PRIVATE_RANGES))
    count = 1 << (length - min(length, private.prefixlen))
    size = 1 << (32 - length)
    start = int(private.network_address) + draw(st.integers(0, count - 1)) * size
    block = IPv4Network((start, length))
    return (IPv4Network("10.0.0.0/16") if block.overlaps(IPv4Network("172.17.0.0/16")) else block), zones


@st.composite
def blocks_within(draw: st.DrawFn, pool: IPv4Network = SMALL_POOL) -> IPv4Network:
    length = draw(st.integers(25, 30))
    return IPv4Network(
        (
            int(pool.network_address) + draw(st.integers(0, (1 << (length - 24)) - 1)) * (1 << (32 - length)),
            length,
        )
    )


def _all_subnets(layout: SubnetLayout) -> list[IPv4Network]:
    return [subnet for row in layout.subnets.values() for subnet in row]


class TestSplit:
    @given(tenant_blocks())
    def test_all_subnets_are_disjoint(self, case: tuple[IPv4Network, int]) -> None:
        for one, other in combinations(_all_subnets(split_block(*case)), 2):
            assert not one.overlaps(other)

    @given(tenant_blocks())
    def test_areas_are_disjoint_and_inside_the_block(self, case: tuple[IPv4Network, int]) -> None:
        areas = list(split_block(*case).areas.values())

        assert all(area.subnet_of(case[0]) for area in areas)
        assert not any(one.overlaps(other) for one, other in combinations(areas, 2))

    @given(tenant_blocks())
    def test_each_layer_has_a_subnet_in_each_zone_inside_its_area(
        self, case: tuple[IPv4Network, int]
    ) -> None:
        layout = split_block(*case)

        assert set(layout.subnets) == set(layout.areas) == set(Layer)
        for layer, row in layout.subnets.items():
            assert len(row) == case[1]
            assert all(subnet.subnet_of(layout.areas[layer]) for subnet in row)

    @given(tenant_blocks())
    def test_every_subnet_is_of_a_size_that_aws_allows(self, case: tuple[IPv4Network, int]) -> None:
        assert all(16 <= subnet.prefixlen <= 28 for subnet in _all_subnets(split_block(*case)))

    @given(tenant_blocks())
    def test_a_layers_subnets_cover_its_area_when_the_zones_are_a_power_of_two(
        self, case: tuple[IPv4Network, int]
    ) -> None:
        block, zones = case
        layout = split_block(block, zones)

        if zones in {1, 2, 4}:
            for layer, row in layout.subnets.items():
                assert sum(subnet.num_addresses for subnet in row) == layout.areas[layer].num_addresses

    @given(tenant_blocks())
    def test_the_upper_half_is_data_and_the_lower_quarter_is_app(self, case: tuple[IPv4Network, int]) -> None:
        block, zones = case
        lower, upper = block.subnets(1)
        layout = split_block(block, zones)

        assert layout.areas[Layer.DATA] == upper
        assert layout.areas[Layer.APP] == next(lower.subnets(1))

    @pytest.mark.parametrize(
        ("block", "expected"),
        [
            ("10.0.1.0/24", ("10.0.1.0/26", "10.0.1.112/28", "10.0.1.128/25", "10.0.1.96/28")),
            ("10.0.2.0/24", ("10.0.2.0/26", "10.0.2.112/28", "10.0.2.128/25", "10.0.2.96/28")),
            ("10.0.3.0/24", ("10.0.3.0/26", "10.0.3.112/28", "10.0.3.128/25", "10.0.3.96/28")),
        ],
    )
    def test_the_seeds_blocks_are_cut_without_the_seeds_overlap(
        self, block: str, expected: tuple[str, str, str, str]
    ) -> None:
        layout = split_block(IPv4Network(block), 1)

        assert tuple(str(layout.areas[layer]) for layer in Layer) == expected

    def test_three_zones_of_a_22_are_cut_as_documented(self) -> None:
        layout = split_block(IPv4Network("10.0.4.0/22"), 3)

        assert [str(s) for s in layout.subnets[Layer.APP]] == ["10.0.4.0/26", "10.0.4.64/26", "10.0.4.128/26"]
        assert [str(s) for s in layout.subnets[Layer.MGMT]] == [
            "10.0.5.192/28",
            "10.0.5.208/28",
            "10.0.5.224/28",
        ]
        assert [str(s) for s in layout.subnets[Layer.DATA]] == ["10.0.6.0/25", "10.0.6.128/25", "10.0.7.0/25"]

    @pytest.mark.parametrize("zones", [0, 5, -1])
    def test_an_impossible_number_of_zones_is_refused(self, zones: int) -> None:
        with pytest.raises(BlockError, match="zones"):
            split_block(IPv4Network("10.0.0.0/20"), zones)


class TestBlocks:
    @pytest.mark.parametrize("zones", range(1, MAX_ZONES + 1))
    def test_the_smallest_block_fits_and_the_next_smaller_does_not(self, zones: int) -> None:
        length = smallest_prefix_length(zones)

        assert len(_all_subnets(split_block(IPv4Network(("10.0.0.0", length)), zones))) == 4 * zones
        with pytest.raises(BlockError, match="too small"):
            check_block(IPv4Network(("10.0.0.0", length + 1)), zones)

    @pytest.mark.parametrize("zones", range(1, MAX_ZONES + 1))
    def test_the_default_block_holds_the_zones(self, zones: int) -> None:
        assert default_prefix_length(zones) <= smallest_prefix_length(zones)

    @pytest.mark.parametrize(
        ("block", "reason"),
        [
            ("11.0.0.0/24", "not private"),
            ("100.64.0.0/24", "not private"),
            ("172.32.0.0/24", "not private"),
            ("192.168.0.0/15", "not private"),
            ("0.0.0.0/0", "not private"),
            ("172.17.0.0/24", "Docker"),
            ("172.16.0.0/15", "Docker"),
            ("10.0.0.0/15", "larger than /16"),
            ("10.0.0.0/26", "too small"),
        ],
    )
    def test_a_block_that_cannot_be_a_vpc_is_refused_with_the_reason(self, block: str, reason: str) -> None:
        with pytest.raises(BlockError, match=reason):
            check_block(IPv4Network(block), 1)

    def test_overlapping_names_the_block_in_the_way(self) -> None:
        others = [IPv4Network("10.0.0.0/24"), IPv4Network("10.0.1.128/25")]

        assert overlapping(IPv4Network("10.0.1.0/24"), others) == others[1]
        assert overlapping(IPv4Network("10.0.2.0/24"), others) is None


class TestFirstFreeBlock:
    @given(st.integers(25, 30), st.lists(blocks_within(), max_size=12))
    def test_it_is_what_trying_every_block_finds(self, length: int, taken: list[IPv4Network]) -> None:
        free = [b for b in SMALL_POOL.subnets(new_prefix=length) if not any(b.overlaps(t) for t in taken)]

        if free:
            assert first_free_block(SMALL_POOL, length, taken) == free[0]
        else:
            with pytest.raises(PoolExhaustedError):
                first_free_block(SMALL_POOL, length, taken)

    @given(st.lists(st.integers(25, 30), max_size=20))
    def test_blocks_taken_one_after_another_are_disjoint_and_inside_the_pool(
        self, lengths: list[int]
    ) -> None:
        taken: list[IPv4Network] = []
        for length in lengths:
            try:
                block = first_free_block(SMALL_POOL, length, taken)
            except PoolExhaustedError:
                continue
            assert overlapping(block, taken) is None
            assert block.subnet_of(SMALL_POOL)
            taken.append(block)

    @pytest.mark.parametrize(
        "taken",
        [["11.0.0.0/8"], ["9.0.0.0/8"], ["10.0.1.0/24"]],
        ids=["above", "below", "right behind"],
    )
    def test_blocks_outside_the_pool_take_nothing_from_it(self, taken: list[str]) -> None:
        assert str(first_free_block(SMALL_POOL, 25, map(IPv4Network, taken))) == "10.0.0.0/25"

    def test_a_block_larger_than_the_pool_covers_all_of_it(self) -> None:
        with pytest.raises(PoolExhaustedError, match=r"no free /25 is left in 10\.0\.0\.0/24"):
            first_free_block(SMALL_POOL, 25, [IPv4Network("10.0.0.0/8")])

    def test_a_block_larger_than_the_pool_is_never_free(self) -> None:
        with pytest.raises(PoolExhaustedError):
            first_free_block(SMALL_POOL, 23, [])

    def test_the_default_pool_holds_65536_tenants(self) -> None:
        pool = IPv4Network("10.0.0.0/8")
        taken = [IPv4Network((int(pool.network_address) + n * 256, 24)) for n in range(65535)]

        assert str(first_free_block(pool, 24, taken)) == "10.255.255.0/24"
