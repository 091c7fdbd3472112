"""Moves a running guest: it is saved to a file while it works, and goes on from there in another QEMU."""

from harness import rundir
from harness.errors import Unsupported
from harness.qemu import snapshot
from harness.testbed import Testbed


def save_and_restore(bed: Testbed) -> None:
    """Save the whole machine to a file, end its QEMU, and have another QEMU go on from the file.

    The guest runs until nearly all of its memory is saved, as in a live migration. Whoever was logged in has to log in
    anew, which the next question to the guest does. Frames that come while neither QEMU runs may be lost.

    Raises:
        SnapshotError: the device models of this QEMU cannot be saved or loaded.
        Unsupported: a virtual function cannot.
    """
    if bed.cell.nic.virtual_function:
        raise Unsupported("saving the machine: QEMU's snapshots do not hold a virtual function")
    vm, directory = bed.vm, rundir.make()
    state = directory / "state"
    try:
        bed.log_out()
        snapshot.save(vm, state)
        bed.move_to(vm.twin(directory))
        snapshot.load(bed.vm, state)
        state.unlink()
    except BaseException:
        if bed.vm.directory != directory:
            rundir.remove(directory)
        raise
