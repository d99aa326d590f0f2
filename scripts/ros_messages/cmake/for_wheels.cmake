# Included after the last find_package by the message packages that are compiled into the environment of the wheels.

# The wheels export CMake targets that name include folders of the machine that built them, and CMake refuses an
# imported target whose folder does not exist. Python's and NumPy's headers, which is what those folders stand for,
# reach the generated extensions through find_package(Python3) anyway.
get_property(imported_targets DIRECTORY PROPERTY IMPORTED_TARGETS)
foreach(target IN LISTS imported_targets)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  if(NOT folders)
    continue()
  endif()
  set(existing "")
  foreach(folder IN LISTS folders)
    if(folder MATCHES "^\\$<" OR EXISTS "${folder}")
      list(APPEND existing "${folder}")
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${existing}")
endforeach()

# rclpy loads C type support (Fast DDS asks for the introspection one too), never C++: half of the time to compile.
list(FILTER AMENT_EXTENSIONS_rosidl_generate_idl_interfaces EXCLUDE REGEX "_cpp:")
