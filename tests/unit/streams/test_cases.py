"""Where each known attack and torture case is tested.

A case is `C1`..`C12` (loses or doubles records), `H1`..`H12`, `M1`..`M6` (attacks on in-place sealing), or a number
of the torture list of log rotation. Each test says in its docstring which cases it is. Kills are real: a process that
ends by `_exit` at a named step. H4 attacked the collapsing of ranges: a reset, under a lease, is there instead.

    C1  test_release.test_an_opener_waits_and_finds_an_empty_file
    C1  test_release.test_a_file_somebody_has_open_is_not_set_back
    C1  test_release.test_a_lease_that_is_being_broken_is_not_truncated_under
    C1  test_recover.test_a_kill_at_any_step_of_a_reset
    C2  test_recover.test_holes_that_came_back_are_compared_and_punched_again
    C2  test_retain.test_the_live_file_is_synced_once_before
    C3  test_recover.test_holes_that_came_back_are_compared_and_punched_again
    C3  test_release.test_pieces_bound_what_one_call_punches
    C4  test_release.test_a_writer_that_rewrites_its_last_block_doubles_nothing
    C5  test_lives.test_the_judge
    C5  test_release.test_a_refill_with_the_same_content_is_known_by_the_hole
    C5  test_recover.test_a_restart_after_retention_before_the_release
    C6  test_seal.test_truncation_while_copying_keeps_what_was_whole
    C6  test_seal.test_truncation_before_the_copy_begins_nothing_in_the_middle
    C6  test_seal.test_truncation_between_two_members_mixes_no_incarnations
    C6  test_seal.test_truncation_between_copy_and_comparison_keeps_the_only_copy
    C7  test_recover.test_a_segment_of_the_wanted_name_is_not_believed
    C7  test_seal.test_a_name_that_is_taken_is_never_overwritten
    C8  test_seal.test_a_writer_that_fills_up_after_an_outside_truncation
    C9  test_seal.test_a_run_of_nuls_at_s_waits_for_its_grace
    C9  test_seal.test_a_half_record_before_nuls_does_not_block_for_ever
    C9  test_seal.test_length_prefixed_messages_are_refused
    C10 test_recover.test_a_torn_part_is_cut_at_its_first_bad_member
    C10 test_recover.test_a_part_whose_live_file_is_gone_is_published
    C11 test_recover.test_a_kill_followed_by_a_writer_that_starts_anew
    C12 test_recover.test_everything_comes_back_without_the_state
    C12 test_retain.test_the_newest_leaves_a_marker_and_positions_go_on
    H1  test_retain.test_a_marker_that_cannot_be_written_keeps_the_segment
    H1  faults.test_full_disk.test_with_no_byte_free_everything_is_sealed_and_space_comes_free
    H2  test_release.test_truncation_in_the_window_is_told
    H3  test_reader.test_a_read_below_a_new_s_is_discarded
    H4  test_release.test_a_file_nobody_has_open_is_set_back
    H4  test_recover.test_a_kill_at_any_step_of_a_reset
    H5  test_limits.test_a_file_systems_limit_is_what_it_says_itself
    H5  test_limits.test_each_threshold_is_told_once
    H6  test_lives.test_a_renamed_file_is_finished_first
    H6  test_lives.test_a_reader_of_the_renamed_file_delays_only_a_while
    H7  test_seal.test_an_archive_on_another_file_system
    H8  test_seal.test_a_failed_fsync_discards_the_part
    H8  test_seal.test_a_failed_sync_of_the_directory_takes_the_name_back
    H9  duties.test_keeper.test_a_second_keeper_is_refused_with_the_pid_of_the_first
    H10 test_release.test_no_reset_where_leases_are_local_only
    H11 test_seal.test_a_segment_ends_when_its_index_is_full
    H11 test_seal.test_the_largest_index_fits_its_field
    H12 test_recover.test_a_live_file_shorter_than_s_begins_anew
    H12 test_verify.test_live_shorter_than_s_is_no_damage
    M1  test_retain.test_a_clock_that_jumps_deletes_nothing_early
    M1  test_retain.test_a_touched_old_segment_goes_before_a_younger_one
    M1  test_ages.test_a_clock_set_late_makes_nobody_old_after_a_restart
    M1  test_ages.test_a_clock_set_late_makes_nobody_old_after_a_reboot
    M2  test_names.test_a_segments_name_round_trips
    M3  test_lives.test_our_own_release_is_no_growth
    M4  test_seal.test_preallocated_space_is_not_data
    M4  test_lives.test_a_terabyte_hole_costs_nothing
    M5  test_lives.test_a_footer_rewriter_is_refused_not_doubled
    M6  test_lives.test_a_swapped_directory_is_never_followed
    M6  faults.test_hostile_directory.test_a_link_in_the_place_of_our_own_directory_ends_the_start
    1   torture.test_writers_full_speed.test_nothing_is_lost
    1   test_release.test_a_writer_that_holds_its_file_goes_on_undisturbed
    2   torture.test_writers_full_speed.test_nothing_is_lost
    2   test_release.test_a_writer_that_holds_its_file_goes_on_undisturbed
    3   test_seal.test_whole_lines_are_sealed_and_the_rest_stays_live
    4   test_seal.test_a_record_longer_than_a_member_stays_one_piece
    4   test_seal.test_a_record_of_100_mb_stays_one_piece
    5   test_release.test_an_unterminated_line_counts_only_after_a_long_idle_time
    6   test_lives.test_a_renamed_file_whose_writer_was_not_told
    7   test_lives.test_case_7_a_writer_that_recreates_its_path_is_never_overwritten
    8   crash.test_kills.test_nothing_is_lost_by_kills
    8   test_recover.test_a_kill_at_any_step_of_sealing
    8   test_recover.test_a_kill_at_any_step_of_retention
    9   test_recover.test_a_kill_at_any_step_of_sealing
    10  test_seal.test_an_error_at_any_step_keeps_the_data_and_heals
    10  test_seal.test_three_cycles_of_a_full_disk
    10  faults.test_calls.test_each_call_fails_once
    10  faults.test_calls.test_short_writes_go_on
    10  faults.test_places.test_a_quota_that_is_used_up_harms_nothing_and_is_told_once
    10  faults.test_system_calls.test_an_agent_whose_system_calls_fail_loses_nothing
    11  test_seal.test_an_error_at_any_step_keeps_the_data_and_heals
    12  test_recover.test_truncated_archives_are_left_alone
    13  test_recover.test_an_empty_or_torn_part_is_removed
    14  test_recover.test_a_lost_directory_entry_is_made_again
    14  crash.test_power.test_nothing_durable_is_lost_by_power_cuts
    15  test_lives.test_a_restart_that_truncates_is_counted
    15  torture.test_restarts.test_what_was_captured_survives_a_writer_that_truncates
    16  test_release.test_a_refill_past_the_old_size_is_known_by_its_content
    17  test_lives.test_deleted_and_made_again
    18  test_lives.test_streams_of_the_same_head_are_not_confused
    19  test_lives.test_what_is_no_regular_file_is_untouched
    20  test_lives.test_a_swapped_directory_is_never_followed
    20  test_lives.test_strange_names_are_sealed_and_found_again
    20  cli.test_strange_names.test_no_name_is_ever_raw
    20  faults.test_hostile_directory.test_nothing_outside_is_touched
    20  faults.test_hostile_directory.test_a_file_swapped_between_look_and_open_is_not_followed
    21  test_seal.test_a_thousand_seals_in_one_second_have_different_names
    21  test_retain.test_a_clock_that_jumps_deletes_nothing_early
    21  torture.test_many.test_rotations_under_a_clock_that_jumps
    22  test_plan.test_a_total_is_met_oldest_first_over_all_streams
    22  test_retain.test_foreign_files_are_never_touched
    23  duties.test_keeper.test_a_lock_dies_with_its_holder
    24  test_release.test_refused_without_holes
    24  faults.test_filesystems.test_an_immutable_file_is_refused_until_it_is_not
    24  faults.test_filesystems.test_a_file_system_that_turns_read_only_stops_nothing_for_good
    24  faults.test_places.test_an_overlay_is_a_place_like_others
    24  faults.test_places.test_a_file_of_the_image_below_is_sealed_once
    24  faults.test_places.test_a_writer_may_be_the_first_to_open_a_file_of_the_image
    24  faults.test_places.test_who_only_reads_makes_no_copy_of_a_file_of_the_image
    24  faults.test_places.test_clusters_of_blocks_come_free_too
    24  faults.test_places.test_a_quota_that_is_used_up_harms_nothing_and_is_told_once
    25  test_release.test_no_write_permission_refuses_the_file
    25  test_release.test_an_opener_waits_and_finds_an_empty_file
    25  test_release.test_the_signal_of_a_broken_lease_ends_nobody
    25  test_release.test_the_usual_signal_of_a_broken_lease_would_end_it
    26  torture.test_readers.test_what_a_reader_sees
    27  test_retain.test_five_hundred_rotations_leak_nothing
    27  torture.test_many.test_many_files_due_at_the_same_second
    27  torture.test_many.test_many_archives
    27  faults.test_calls.test_a_file_that_is_deleted_while_it_is_sealed
    27  faults.test_replaced.test_another_directory_at_the_path_is_taken_up_by_itself
    28  torture.test_writers_full_speed.test_the_harness_fails_a_damaged_run
    29  test_random.test_a_random_life
    29  model.test_model.test_hundreds_of_action_lists
    30  duties.test_keeper.test_a_stop_ends_a_step_at_its_next_breath
    30  duties.test_commands.test_a_bad_reload_changes_nothing
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable

ROWS = [line.split(maxsplit=1) for line in (__doc__ or "").splitlines() if line.startswith("    ")]
HOMES = {
    "duties": "tests.unit.",
    "cli": "tests.unit.",
    "torture": "tests.",
    "crash": "tests.",
    "faults": "tests.",
    "model": "tests.",
}
"""Where the tests of other rooms are."""
WANTED = [
    *(f"C{n}" for n in range(1, 13)),
    *(f"H{n}" for n in range(1, 13)),
    *(f"M{n}" for n in range(1, 7)),
    *(str(n) for n in range(1, 31)),
]


def test_every_case_has_its_place() -> None:
    """None is forgotten, and none is invented."""
    assert set(WANTED) == {case for case, _ in ROWS}


def found(place: str) -> Callable[..., None] | None:
    """The test at a place of the table."""
    module, _, name = place.rpartition(".")
    home = HOMES.get(module.partition(".")[0], "tests.unit.streams.")
    return getattr(importlib.import_module(home + module), name, None)


def test_every_place_is_there() -> None:
    """A test that is renamed or removed takes its row with it."""
    assert [] == [row for row in ROWS if found(row[1]) is None]


def test_every_test_says_its_case() -> None:
    """Whoever reads or changes it knows what it is for."""
    silent = []
    for case, place in ROWS:
        said = re.findall(r"\b([CHM]?\d+)\b", (found(place).__doc__ or "").replace(",", " "))
        if case not in said:
            silent.append((case, place))

    assert [] == silent
