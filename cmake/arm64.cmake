# Cross-compiles for Linux on arm64 and runs the tests in QEMU, on Debian's or Ubuntu's packages g++-aarch64-linux-gnu and qemu-user:
# cmake -S . -B build/arm64/build/cmake -DCMAKE_TOOLCHAIN_FILE=cmake/arm64.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
