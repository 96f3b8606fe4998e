"""Build of the Cython kernels: C11, OpenMP where the compiler has it, no machine-specific flags.

Everything that is data lives in pyproject.toml; this file only finds out what the compiler can do.
"""

import gzip
import os
import sys
import sysconfig
import tarfile
import tempfile
import time
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

KERNELS = "fasthash/_kernels"
INCLUDE = "fasthash/include"
# Cython's own code, most of it for memory views: it is generated and compiled once, in this module,
# and not in every other one, which saves three quarters of Cython's time.
SHARED = "fasthash._kernels._cyutility"
SIMD_SOURCES = [
    f"{KERNELS}/simd/{name}.c"
    for name in (
        *("dispatch", "scalar", "avx2", "avx2_rows", "avx2_planes", "avx2_weights"),
        *("avx512", "avx512_planes", "avx512_weights", "neon", "neon_weights"),
    )
]
# With those that they include.
SIMD_HEADERS = [
    f"{KERNELS}/bits.h",
    *(
        f"{KERNELS}/simd/{name}.h"
        for name in ("simd", "tiles", "rows", "planes", "estimates", "avx2", "avx512")
    ),
]

EXTENSIONS = [
    Extension(
        "fasthash._kernels.tiles",
        [f"{KERNELS}/tiles.pyx", *SIMD_SOURCES],
        depends=[*SIMD_HEADERS, f"{KERNELS}/fork.h", f"{KERNELS}/gather.h"],
        # dladdr and dlsym, which older C libraries keep apart.
        libraries=["dl"] if sys.platform == "linux" else [],
    ),
    Extension(
        "fasthash._kernels.distances",
        [f"{KERNELS}/distances.pyx"],
        depends=SIMD_HEADERS,
    ),
    Extension(
        "fasthash._kernels.tasks",
        [f"{KERNELS}/tasks.pyx"],
        depends=SIMD_HEADERS,
    ),
    Extension(
        "fasthash._kernels.planes",
        [f"{KERNELS}/planes.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/gather.h"],
    ),
    Extension(
        "fasthash._kernels.search",
        [f"{KERNELS}/search.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/selection.h", f"{KERNELS}/keys.h"],
    ),
    Extension(
        "fasthash._kernels.sampling",
        [f"{KERNELS}/sampling.pyx"],
        depends=SIMD_HEADERS,
    ),
    Extension(
        "fasthash._kernels.estimates",
        [f"{KERNELS}/estimates.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/weights.h"],
    ),
    Extension(
        "fasthash._kernels.weighted",
        [f"{KERNELS}/weighted.pyx"],
        depends=[
            *SIMD_HEADERS,
            f"{KERNELS}/gather.h",
            f"{KERNELS}/keys.h",
            f"{KERNELS}/selection.h",
            f"{KERNELS}/weights.h",
        ],
    ),
    Extension(
        "fasthash._kernels.jaccard",
        [f"{KERNELS}/jaccard.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/selection.h", f"{KERNELS}/keys.h"],
    ),
    Extension(
        "fasthash._kernels.radius",
        [f"{KERNELS}/radius.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/keys.h"],
    ),
    Extension(
        "fasthash._kernels.ranking",
        [f"{KERNELS}/ranking.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/counting.h", f"{KERNELS}/ranking.h"],
    ),
    Extension(
        "fasthash._kernels.sorting",
        [f"{KERNELS}/sorting.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/counting.h", f"{KERNELS}/sorting.h"],
    ),
    Extension(
        "fasthash._kernels.filters",
        [f"{KERNELS}/filters.pyx"],
        depends=[f"{KERNELS}/filters.h", f"{KERNELS}/bits.h"],
    ),
    Extension("fasthash._kernels.page_cache", [f"{KERNELS}/page_cache.pyx"]),
    Extension(
        "fasthash._kernels.discrete",
        [f"{KERNELS}/discrete.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/discrete.h", f"{KERNELS}/discrete_rows.h"],
    ),
    Extension(
        "fasthash._kernels.reconstruct",
        [f"{KERNELS}/reconstruct.pyx"],
        depends=[
            f"{KERNELS}/reconstruct.h",
            f"{KERNELS}/reconstruct_rows.h",
            f"{KERNELS}/bits.h",
        ],
    ),
    Extension("fasthash._kernels.refine", [f"{KERNELS}/refine.pyx"]),
    Extension(
        "fasthash._kernels.multi_index",
        [f"{KERNELS}/multi_index.pyx"],
        depends=[
            *SIMD_HEADERS,
            f"{KERNELS}/keys.h",
            f"{KERNELS}/multi_index.h",
            f"{KERNELS}/multi_index_probe.h",
        ],
    ),
    Extension(
        "fasthash._kernels.list_search",
        [f"{KERNELS}/list_search.pyx"],
        depends=[
            *SIMD_HEADERS,
            f"{KERNELS}/gather.h",
            f"{KERNELS}/selection.h",
            f"{KERNELS}/keys.h",
            f"{KERNELS}/partitions.h",
            f"{KERNELS}/weights.h",
        ],
    ),
    Extension(
        "fasthash._kernels.partitions",
        [f"{KERNELS}/partitions.pyx"],
        depends=[
            *SIMD_HEADERS,
            f"{KERNELS}/gather.h",
            f"{KERNELS}/keys.h",
            f"{KERNELS}/partitions.h",
        ],
    ),
    Extension(
        "fasthash._kernels.joins",
        [f"{KERNELS}/joins.pyx"],
        depends=[
            *SIMD_HEADERS,
            f"{KERNELS}/keys.h",
            f"{KERNELS}/multi_index.h",
            f"{KERNELS}/multi_index_probe.h",
            f"{KERNELS}/joins.h",
        ],
    ),
    Extension(
        "fasthash._kernels.groups",
        [f"{KERNELS}/groups.pyx"],
        depends=[f"{KERNELS}/bits.h"],
    ),
    Extension(
        "fasthash._kernels.calls",
        [f"{KERNELS}/calls.pyx"],
        depends=[*SIMD_HEADERS, f"{KERNELS}/selection.h", f"{INCLUDE}/fasthash.h"],
    ),
    Extension(
        "fasthash._kernels.weighted_calls",
        [f"{KERNELS}/weighted_calls.pyx"],
        depends=[
            *SIMD_HEADERS,
            f"{KERNELS}/selection.h",
            f"{KERNELS}/weights.h",
            f"{INCLUDE}/fasthash.h",
        ],
    ),
    Extension(
        "fasthash._kernels.index_calls",
        [f"{KERNELS}/index_calls.pyx"],
        depends=[
            *SIMD_HEADERS,
            f"{KERNELS}/keys.h",
            f"{KERNELS}/multi_index.h",
            f"{INCLUDE}/fasthash.h",
        ],
    ),
    # Generated; Cython takes the module's name from the file's.
    Extension(SHARED, [f"{KERNELS}/{SHARED}.c"]),
    Extension(
        "fasthash.c_api",
        ["fasthash/c_api.pyx"],
        depends=[
            *SIMD_HEADERS,
            f"{KERNELS}/keys.h",
            f"{KERNELS}/multi_index.h",
            f"{INCLUDE}/fasthash.h",
        ],
    ),
]

# One build serves every CPython from this version on; free-threaded builds have no stable ABI.
LIMITED_API = (3, 11)
LIMITED_API_HEX = f"0x{LIMITED_API[0]:02x}{LIMITED_API[1]:02x}0000"
USES_LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

# (compile flags, link flags), tried in order; the empty last resort builds without threads.
OPENMP_FLAGS = {
    "msvc": [(["/openmp"], [])],
    "darwin": [
        (["-fopenmp"], ["-fopenmp"]),
        (["-Xpreprocessor", "-fopenmp"], ["-lomp"]),
    ],
    "unix": [(["-fopenmp"], ["-fopenmp"])],
}

OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


class BuildKernels(build_ext):
    """build_ext that asks the compiler which OpenMP flags it understands before it compiles."""

    def finalize_options(self) -> None:
        super().finalize_options()
        # Extensions are compiled side by side; `build_ext --parallel` says how many.
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        msvc = self.compiler.compiler_type == "msvc"
        base = ["/O2", "/std:c11"] if msvc else ["-O3", "-std=c11", "-fvisibility=hidden"]
        if not msvc:
            # What debuggers read must not name the folder of the build: it differs every time.
            base.append(f"-ffile-prefix-map={os.getcwd()}=.")
        compile_openmp, link_openmp = self.openmp_flags(msvc)
        # Vector loops do not need threads: without OpenMP too they give the same bits as fast.
        if not msvc and self.builds(["-fopenmp-simd"], [], "int main(void) { return 0; }\n"):
            compile_openmp = [*compile_openmp, "-fopenmp-simd"]
        for extension in self.extensions:
            extension.include_dirs += [KERNELS, INCLUDE]
            if USES_LIMITED_API:
                extension.py_limited_api = True
                extension.define_macros.append(("Py_LIMITED_API", LIMITED_API_HEX))
            extension.extra_compile_args += base + compile_openmp
            extension.extra_link_args += link_openmp
        super().build_extensions()

    def openmp_flags(self, msvc: bool) -> tuple[list[str], list[str]]:
        if os.environ.get("FASTHASH_OPENMP") == "0":
            return [], []
        family = "msvc" if msvc else "darwin" if sys.platform == "darwin" else "unix"
        for compile_flags, link_flags in OPENMP_FLAGS[family]:
            if self.builds(compile_flags, link_flags):
                return compile_flags, link_flags
        print("warning: the compiler has no OpenMP; the kernels will run on one thread")
        return [], []

    def builds(
        self, compile_flags: list[str], link_flags: list[str], program: str = OPENMP_PROBE
    ) -> bool:
        from setuptools.errors import CompileError, LinkError

        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=compile_flags
                )
                self.compiler.link_executable(
                    objects, str(Path(folder, "probe")), extra_postargs=link_flags
                )
            except (CompileError, LinkError):
                return False
        return True


class ReproducibleSdist(sdist):
    """sdist whose bytes depend on the files and SOURCE_DATE_EPOCH alone."""

    def make_archive(self, base_name: str, format: str, root_dir=None, base_dir=None, **_) -> str:
        if format != "gztar":
            raise ValueError(f"a source distribution is a .tar.gz, not {format!r}")
        date = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def normalised(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.mtime, member.uid, member.gid, member.uname, member.gname = date, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        archive = Path(f"{base_name}.tar.gz")
        archive.parent.mkdir(parents=True, exist_ok=True)
        with (
            archive.open("wb") as file,
            gzip.GzipFile("", "wb", mtime=date, fileobj=file) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            # tarfile adds what a folder holds in alphabetical order.
            tar.add(Path(root_dir or ".", base_dir), base_dir, filter=normalised)
        return str(archive)


setup(
    ext_modules=cythonize(
        EXTENSIONS,
        build_dir="build/cython",
        shared_utility_qualified_name=SHARED,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildKernels, "sdist": ReproducibleSdist},
    options=(
        {"bdist_wheel": {"py_limited_api": "cp{}{}".format(*LIMITED_API)}}
        if USES_LIMITED_API
        else {}
    ),
)
