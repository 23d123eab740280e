# CMAKE_PROJECT_INCLUDE of a build against the ros-jazzy-* wheels (setup.py, .ci/run); a real ROS install does without.
# The wheels' CMake exports name include directories of the machine that built them, and CMake refuses targets
# with include directories that do not exist: drop those.
function(_drop_missing_include_dirs)
  get_directory_property(targets DIRECTORY ${CMAKE_SOURCE_DIR} IMPORTED_TARGETS)
  foreach(target ${targets})
    get_target_property(dirs ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(dirs)
      set(keep)
      foreach(dir ${dirs})
        if(dir MATCHES "^\\$<" OR EXISTS "${dir}")
          list(APPEND keep "${dir}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${keep}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL _drop_missing_include_dirs)
