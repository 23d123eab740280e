// Makes a jepa_ros/msg/State inside a message of its own and shows that the type support of both links.
#include <cstdio>
#include <cstring>
#include <vector>

#include "cpp_consumer/msg/labelled_state.hpp"
#include "jepa_ros/action/pursue_goal.hpp"
#include "jepa_ros/msg/state.hpp"
#include "jepa_ros/srv/encode.hpp"
#include "rosidl_typesupport_cpp/message_type_support.hpp"

int main()
{
  const std::vector<float> s{0.5f, -1.0f};
  jepa_ros::msg::Tensor level;
  level.dtype = "float32";
  level.shape = {2};
  level.data.resize(s.size() * sizeof(float));
  std::memcpy(level.data.data(), s.data(), level.data.size());

  cpp_consumer::msg::LabelledState labelled;
  labelled.label = "door";
  labelled.state.levels.push_back(level);

  const bool linked =
    rosidl_typesupport_cpp::get_message_type_support_handle<jepa_ros::msg::State>() != nullptr &&
    rosidl_typesupport_cpp::get_message_type_support_handle<cpp_consumer::msg::LabelledState>() != nullptr;
  const jepa_ros::srv::Encode::Request request;
  const jepa_ros::action::PursueGoal::Goal goal;
  std::printf("%s: %zu bytes, image %u, goal kind %d\n", labelled.label.c_str(),
    labelled.state.levels[0].data.size(), request.image.width, int(goal.kind));
  return linked ? 0 : 1;
}
