# Only in the repository, never in the published package. node-gyp and prebuildify come through here to CMake,
# which holds the source list and decides at every build what is out of date.
{
  'targets': [
    {
      'target_name': 'heddle',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake',
          'message': 'Building with CMake',
          'inputs': ['CMakeLists.txt'],
          'outputs': ['<(INTERMEDIATE_DIR)/always'],
          'action': ['<!(node -p "process.execPath")', 'scripts/build.mjs'],
        },
      ],
    },
  ],
}
