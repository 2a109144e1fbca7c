import a_library_nobody_has


class Net(a_library_nobody_has.Module):
    pass
