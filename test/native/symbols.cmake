# cmake -DNM= -DISA= -DOBJECTS=a,b -P symbols.cmake: every symbol that an instruction set's objects define for the linker
# must carry that set's namespace. A weak one, or one of a shared name, could replace the baseline's.
string(REPLACE "," ";" OBJECTS "${OBJECTS}")
execute_process(COMMAND ${NM} --defined-only --extern-only --demangle ${OBJECTS} OUTPUT_VARIABLE _out RESULT_VARIABLE _rc)
string(REGEX MATCHALL "[0-9a-f]+ [A-Za-z] [^\n]+" _symbols "${_out}")
if(_rc OR NOT _symbols)
  message(FATAL_ERROR "nm found no symbols in ${OBJECTS}")
endif()
foreach(_s IN LISTS _symbols)
  # DW.ref.* is a pointer to the exception personality: data, the same for all
  if(NOT _s MATCHES "^[0-9a-f]+ ([BDRT] heddle::cpu::${ISA}::|V DW\\.ref\\.)")
    message(SEND_ERROR "leaks from ${ISA}: ${_s}")
  endif()
endforeach()
